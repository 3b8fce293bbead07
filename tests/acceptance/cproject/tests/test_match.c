#include "expect.h"

int main(void)
{
    EXPECT(text_match("*.c", "main.c"));
    EXPECT(text_match("a?c*e", "abcdde"));
    EXPECT(text_match("*a*b", "aaab"));
    EXPECT(!text_match("*.c", "main.h"));
    EXPECT(!text_match("?", ""));
    return 0;
}
