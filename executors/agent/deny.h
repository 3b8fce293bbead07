/* `tenon-agent deny-metadata`: rules in the network namespace that this program is in, which refuse the host's metadata
 * addresses (core/lib/metadata.h) to everybody there, but for port 53. Needs CAP_NET_ADMIN, so the executor has the engine
 * run it in a container's network before anything of the job runs there. Doing it twice does no harm. */
#ifndef TN_AGENT_DENY_H
#define TN_AGENT_DENY_H

/* The exit status: 0 done, 1 not, with the reason on stderr. */
int tn_deny_main(void);

#endif
