#include "expect.h"

int main(void)
{
    EXPECT(text_count_words("") == 0);
    EXPECT(text_count_words("  one two\tthree\n") == 3);
    return 0;
}
