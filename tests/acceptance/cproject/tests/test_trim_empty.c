#include "expect.h"

int main(void)
{
    const char *start;
    EXPECT(text_trim("", &start) == 0);
    EXPECT(text_trim(" \n ", &start) == 0);
    return 0;
}
