#include "expect.h"

int main(void)
{
    const char *start;
    EXPECT(text_trim(" \t some text\n", &start) == 9);
    EXPECT(strncmp(start, "some text", 9) == 0);
    return 0;
}
