/* Duplicates, repeated answers, earlier lives. */
#include "core/peer/seen.h"
#include "tests/unit/check.h"

#include <stdlib.h>

#define SEQ(life, counter) ((uint64_t)(life) << 32 | (counter))

int main(void)
{
    struct tn_seen *seen = tn_seen_new();
    struct tn_seen_answer answer = {0};
    static char large[TN_SEEN_ANSWER_MAX + 1];

    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 1), &answer), TN_SEEN_NEW);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 1), &answer), TN_SEEN_IN_PROGRESS);
    CHECK_INT(tn_seen_enter(seen, 0x700, SEQ(7, 1), &answer), TN_SEEN_NEW); /* another source */
    tn_seen_answered(seen, 0x600, SEQ(7, 1), 44, "abc", 3);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 1), &answer), TN_SEEN_ANSWERED);
    CHECK(answer.kind == 44 && answer.length == 3 && memcmp(answer.body, "abc", 3) == 0);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 1), &answer), TN_SEEN_ANSWERED); /* as often as asked */

    /* An empty answer is one; a large one is not kept, and the request counts as new. */
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 2), &answer), TN_SEEN_NEW);
    tn_seen_answered(seen, 0x600, SEQ(7, 2), 1, NULL, 0);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 2), &answer), TN_SEEN_ANSWERED);
    CHECK(answer.kind == 1 && answer.length == 0);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 3), &answer), TN_SEEN_NEW);
    tn_seen_answered(seen, 0x600, SEQ(7, 3), 44, large, TN_SEEN_ANSWER_MAX);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 3), &answer), TN_SEEN_ANSWERED);
    CHECK_INT(answer.length, TN_SEEN_ANSWER_MAX);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 4), &answer), TN_SEEN_NEW);
    tn_seen_answered(seen, 0x600, SEQ(7, 4), 44, large, sizeof(large));
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 4), &answer), TN_SEEN_NEW);

    /* The window: what is a whole window older is forgotten; an answer that comes then does no harm. */
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 5 + TN_SEEN_WINDOW), &answer), TN_SEEN_NEW);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 5), &answer), TN_SEEN_NEW);
    tn_seen_answered(seen, 0x600, SEQ(7, 5 + TN_SEEN_WINDOW), 44, "x", 1);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 5), &answer), TN_SEEN_IN_PROGRESS);

    /* A new life: everything of the earlier one is stale, and its numbers begin anew. */
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(8, 1), &answer), TN_SEEN_NEW);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(7, 1), &answer), TN_SEEN_STALE);
    tn_seen_answered(seen, 0x600, SEQ(7, 2), 44, "x", 1);
    CHECK_INT(tn_seen_enter(seen, 0x600, SEQ(8, 2), &answer), TN_SEEN_NEW);

    /* The answers of one source are bounded: the oldest are forgotten, the newest are there. */
    for (unsigned i = 0; i < TN_SEEN_WINDOW; i++) {
        CHECK_INT(tn_seen_enter(seen, 0x601, SEQ(7, TN_SEEN_WINDOW + i), &answer), TN_SEEN_NEW);
        tn_seen_answered(seen, 0x601, SEQ(7, TN_SEEN_WINDOW + i), 44, large, TN_SEEN_ANSWER_MAX);
    }
    for (unsigned i = TN_SEEN_WINDOW - TN_SEEN_BYTES / TN_SEEN_ANSWER_MAX; i < TN_SEEN_WINDOW; i++)
        CHECK_INT(tn_seen_enter(seen, 0x601, SEQ(7, TN_SEEN_WINDOW + i), &answer), TN_SEEN_ANSWERED);
    CHECK_INT(tn_seen_enter(seen, 0x601, SEQ(7, TN_SEEN_WINDOW), &answer), TN_SEEN_NEW);

    /* More sources than there is room for: handled, not remembered. */
    for (unsigned i = 0; i < TN_SEEN_SOURCES + 4; i++)
        CHECK_INT(tn_seen_enter(seen, (uint16_t)(0x1000 + i), SEQ(1, 1), &answer), TN_SEEN_NEW);
    CHECK_INT(tn_seen_enter(seen, 0x1000 + TN_SEEN_SOURCES + 3, SEQ(1, 1), &answer), TN_SEEN_NEW);
    tn_seen_free(seen);
    tn_seen_free(NULL);
    return tn_check_result();
}
