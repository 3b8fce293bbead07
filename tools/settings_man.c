/* Prints the manual page tenon.yaml(5), made from the table of settings; run when Tenon is built. */
#include "core/lib/settings.h"

#include <stdio.h>
#include <string.h>

static const char *kind_text(const struct tn_setting *setting)
{
    switch (setting->kind) {
    case TN_SETTING_TEXT:
        return "text";
    case TN_SETTING_PATTERN:
        return "regular expression";
    case TN_SETTING_PATH:
        return "absolute path, or one that begins with ~/";
    case TN_SETTING_CHOICE:
        return "one of";
    case TN_SETTING_INT:
        return "whole number";
    case TN_SETTING_DURATION:
        return "duration, such as 90s, 10m, 12h or 15d";
    case TN_SETTING_SIZE:
        return "size, such as 512MB, 10GB or 1.5TiB";
    case TN_SETTING_TEXTS:
        return setting->choices != NULL ? "list of" : "list of texts";
    case TN_SETTING_LIST:
        return "list of maps";
    }
    return "";
}

/* A backslash begins a request to roff, and so does a full stop or an apostrophe at a line's begin. */
static void put(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void put_setting(const struct tn_setting *setting)
{
    fputs(".TP\n.B ", stdout);
    put(setting->path);
    putchar('\n');
    put(setting->doc);
    printf("\n(%s", kind_text(setting));
    for (size_t i = 0; setting->choices != NULL && setting->choices[i] != NULL; i++)
        printf("%s %s", i > 0 ? "," : "", setting->choices[i]);
    if (setting->kind == TN_SETTING_INT)
        printf(" from %lld to %lld", setting->min, setting->max);
    if (setting->required)
        fputs("; required", stdout);
    if (setting->fallback != NULL && setting->fallback[0] != '\0') {
        fputs("; default ", stdout);
        put(setting->fallback);
    }
    fputs(")\n", stdout);
}

int main(void)
{
    static const char head[] =
        ".TH TENON.YAML 5 \"\" Tenon \"File formats\"\n"
        ".SH NAME\ntenon.yaml \\- settings of a host that runs Tenon\n"
        ".SH SYNOPSIS\n.I ~/.config/tenon/tenon.yaml\n.br\n.I /etc/tenon/tenon.yaml\n"
        ".SH DESCRIPTION\n"
        "A map of sections, each a map of settings, in YAML. The first of the two files that exists counts;\n"
        ".B tenon run \\-\\-settings\nnames another one. No key is needed. A mistake is an error that names line and "
        "column:\n"
        ".B tenon settings\nchecks the file and prints what counts.\n"
        ".PP\nIn the list below a full stop stands for a map within a map and\n.B []\nfor each entry of a list.\n";
    static const char foot[] = ".SH EXAMPLE\n.nf\n"
                               "docker:\n  mirrors: [registry.example.org:5000]\n  images:\n"
                               "    - prefix: cimg/\n      use: registry.example.org/mirror/cimg/\n"
                               "store:\n  keep: {caches: 30d}\n  project_quota: 20GB\n.fi\n"
                               ".SH SEE ALSO\n.B tenon settings \\-\\-help\n";
    char section[32] = "";

    fputs(head, stdout);
    for (size_t i = 0; i < tn_settings_count; i++) {
        int length = (int)strcspn(tn_settings[i].path, ".");

        if (strncmp(section, tn_settings[i].path, (size_t)length) != 0 || section[length] != '\0') {
            snprintf(section, sizeof(section), "%.*s", length, tn_settings[i].path);
            printf(".SH %s\n", section);
        }
        put_setting(&tn_settings[i]);
    }
    fputs(foot, stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}
