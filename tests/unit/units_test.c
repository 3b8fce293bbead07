#include "core/lib/units.h"
#include "tests/unit/check.h"

static double duration(const char *text, bool days)
{
    double seconds = -1;

    return tn_units_duration(text, days, &seconds) ? seconds : -1;
}

static double size(const char *text)
{
    double bytes = -1;

    return tn_units_size(text, &bytes) ? bytes : -1;
}

static void durations(void)
{
    static const char *const wrong[] = {"",
                                        "5",
                                        "s",
                                        "-5s",
                                        "1e3s",
                                        "5 m",
                                        "5x",
                                        "5M",
                                        ".",
                                        "..5s",
                                        "0s",
                                        "9000000h",
                                        "5m ",
                                        "0x5s",
                                        "m5",
                                        "1.2.3s",
                                        "infs",
                                        "nans",
                                        "99999999999999999999s"};

    CHECK(duration("90s", false) == 90);
    CHECK(duration("10m", false) == 600);
    CHECK(duration("1.25h", false) == 4500);
    CHECK(duration("1h30m", false) == 5400);
    CHECK(duration("0.5s", false) == 0.5);
    CHECK(duration("15d", true) == 15 * 86400);
    CHECK(duration("1d12h", true) == 36 * 3600);
    CHECK(duration("15d", false) == -1);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK(duration(wrong[i], true) == -1);
}

static void sizes(void)
{
    static const char *const wrong[] = {"", "GB", "1 GB", "-1", "1gb", "1G", "1e9", "1GBB", ".", "0x10", "9008TB"};

    CHECK(size("0") == 0);
    CHECK(size("512") == 512);
    CHECK(size("512B") == 512);
    CHECK(size("64KB") == 64000);
    CHECK(size("1.5GB") == 1500000000);
    CHECK(size("1GiB") == 1073741824);
    CHECK(size("2TB") == 2e12);
    CHECK(size("9007TB") == 9007e12);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK(size(wrong[i]) == -1);
}

int main(void)
{
    durations();
    sizes();
    return tn_check_result();
}
