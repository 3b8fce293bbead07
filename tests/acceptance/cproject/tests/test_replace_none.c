#include "expect.h"

int main(void)
{
    char *text = text_replace("nothing here", "absent", "x");
    EXPECT(text != NULL);
    EXPECT(strcmp(text, "nothing here") == 0);
    EXPECT(text_replace("text", "", "x") == NULL);
    free(text);
    return 0;
}
