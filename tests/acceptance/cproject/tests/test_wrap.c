#include "expect.h"

int main(void)
{
    char *text = text_wrap("the quick brown fox", 10);
    EXPECT(text != NULL);
    EXPECT(strcmp(text, "the quick\nbrown fox") == 0);
    free(text);
    return 0;
}
