#include "expect.h"

int main(void)
{
    EXPECT(text_utf8_length("plain") == 5);
    EXPECT(text_utf8_length("d\xc3\xa9j\xc3\xa0 vu") == 7);
    EXPECT(text_utf8_length("\xf0\x9f\x98\x80") == 1);
    return 0;
}
