/* Processes that hold values of contexts, keys and tokens: what they free is overwritten, and nobody reads their memory.
 *
 * Wiped are what cJSON frees (leases, contexts, credentials, settings), buffers (buf.h) and bodies of messages (peer.h);
 * with tn_secret_wipe_all() every freed block of more than a kilobyte, nanomsg's copies of messages included. What the
 * kernel holds in sockets on the way is beyond that. */
#ifndef TN_LIB_SECRET_H
#define TN_LIB_SECRET_H

/* First in a main(): no core dump, not even to a program that collects them, no memory, environment or descriptors for
 * other processes of the same user; cJSON wipes. */
void tn_secret_guard(void);
/* Besides, for a process that carries no bulk data (it costs two passes over each block). */
void tn_secret_wipe_all(void);

/* For values that end their life: overwrites the whole block, then frees it. NULL is fine. */
void tn_secret_free(void *block);

#endif
