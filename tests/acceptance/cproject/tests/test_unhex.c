#include "expect.h"

int main(void)
{
    unsigned char out[4];
    EXPECT(text_unhex("00fFa5", out, sizeof out) == 3);
    EXPECT(out[0] == 0 && out[1] == 0xff && out[2] == 0xa5);
    EXPECT(text_unhex("0", out, sizeof out) == -1);
    EXPECT(text_unhex("zz", out, sizeof out) == -1);
    EXPECT(text_unhex("0011223344", out, sizeof out) == -1);
    return 0;
}
