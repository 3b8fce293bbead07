#include "expect.h"

int main(void)
{
    EXPECT(text_distance("", "") == 0);
    EXPECT(text_distance("kitten", "sitting") == 3);
    EXPECT(text_distance("", "abc") == 3);
    return 0;
}
