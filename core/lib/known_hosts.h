/* Host keys of the large hosting services, in the format of ssh's known_hosts, so that `checkout` needs no question.
 * Published by them: docs.github.com ("GitHub's SSH key fingerprints"), bitbucket.org/blog/ssh-host-key-changes,
 * docs.gitlab.com ("SSH host keys fingerprints"); checked against the fingerprints there. */
#ifndef TN_KNOWN_HOSTS_H
#define TN_KNOWN_HOSTS_H

extern const char tn_known_hosts[];

#endif
