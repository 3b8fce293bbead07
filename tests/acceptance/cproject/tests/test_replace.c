#include "expect.h"

int main(void)
{
    char *text = text_replace("one two one", "one", "three");
    EXPECT(text != NULL);
    EXPECT(strcmp(text, "three two three") == 0);
    free(text);
    return 0;
}
