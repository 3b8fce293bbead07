#include "expect.h"

int main(void)
{
    char *text = text_wrap("a incomprehensibilities b", 5);
    EXPECT(text != NULL);
    EXPECT(strcmp(text, "a\nincomprehensibilities\nb") == 0);
    free(text);
    return 0;
}
