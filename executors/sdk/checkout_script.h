/* What checkout.c runs in the environment with /bin/sh: git, and statuses that say why it failed. */
#ifndef TN_SDK_CHECKOUT_SCRIPT_H
#define TN_SDK_CHECKOUT_SCRIPT_H

/* Statuses of the script; any other is git's own. */
enum tn_checkout_status {
    TN_CHECKOUT_NO_GIT = 61,
    TN_CHECKOUT_OTHER_FOLDER, /* not empty, and no repository */
    TN_CHECKOUT_UNKNOWN_HOST,
    TN_CHECKOUT_CHANGED_HOST,
    TN_CHECKOUT_WRONG_KEY,
    TN_CHECKOUT_WRONG_TOKEN,
    TN_CHECKOUT_NO_TOKEN,
    TN_CHECKOUT_NO_REF,
    TN_CHECKOUT_NO_REVISION,
    TN_CHECKOUT_NO_REPOSITORY,
    TN_CHECKOUT_NO_SSH,
    TN_CHECKOUT_NO_FOLDER,
    TN_CHECKOUT_UNREACHABLE, /* for now: it is tried again */
};

/* Takes from its environment (none of it secret) TENON_CHECKOUT_… URL, FOLDER, METHOD, BRANCH or TAG, REVISION, REF,
 * NAME (of REF below refs/remotes/origin), SSH ("yes"), SCOPE and HELPER (of the token; "": none), INSTEAD (an https
 * address that ssh stands in for; "": none). POSIX sh; git says what it does in the C locale. */
extern const char tn_checkout_script[];

#endif
