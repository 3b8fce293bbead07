#include "expect.h"

int main(void)
{
    EXPECT(text_utf8_length("\xc3") == SIZE_MAX);
    EXPECT(text_utf8_length("\xff") == SIZE_MAX);
    EXPECT(text_utf8_length("a\x80") == SIZE_MAX);
    return 0;
}
