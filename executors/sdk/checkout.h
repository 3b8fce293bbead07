/* `checkout` from a remote repository, and `add_ssh_keys`. See README.md, "Checkout from a remote". */
#ifndef TN_SDK_CHECKOUT_H
#define TN_SDK_CHECKOUT_H

#include "executors/sdk/tree.h"

/* Whether this step gets its files from a remote repository: its command, git, is then the step's command. */
bool tn_checkout_is_remote(const struct tn_task *task, const char *type);
/* Begins the step. After a crash it begins again, and git, which goes on in the environment, is not started twice. */
void tn_checkout_begin(struct tn_task *task);
/* What becomes of git's end. */
void tn_checkout_ended(struct tn_task *task, const struct tn_agent_exit *end);

void tn_add_ssh_keys(struct tn_task *task);

/* The fingerprint of the SSH key that a checkout of the project uses, "" if it uses none: {{ .CheckoutKey }}. */
const char *tn_checkout_key_name(const struct tn_task *task);

#endif
