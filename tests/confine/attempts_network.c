/* Sockets. */
#include "tests/confine/attempts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static long tcp(const char *address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    inet_pton(AF_INET, address, &to.sin_addr);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        return -1;
    return 0;
}

static long go_tcp_loopback(const struct targets *targets)
{
    return tcp("127.0.0.1", targets->port);
}

/* TEST-NET-3: nobody is there, but a packet would leave. */
static long go_tcp_outside(const struct targets *targets)
{
    return tcp("203.0.113.1", 80);
}

static long go_metadata(const struct targets *targets)
{
    return tcp("169.254.169.254", 80);
}

static long go_tcp_listen(const struct targets *targets)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 ? -1 : listen(fd, 1);
}

static long go_udp(const struct targets *targets)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xcb007101)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? -1 : sendto(fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
}

static long go_raw(const struct targets *targets)
{
    return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
}

static long go_packet(const struct targets *targets)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(3));
}

static long go_netlink_route(const struct targets *targets)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long go_netlink_audit(const struct targets *targets)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 9);
}

static long go_alg(const struct targets *targets)
{
    return socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

static long go_vsock(const struct targets *targets)
{
    return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long go_unix_datagram(const struct targets *targets)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static long local(const char *path, size_t skip)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || length + skip >= sizeof(to.sun_path))
        return -1;
    memcpy(to.sun_path + skip, path, length);
    if (connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + skip + length)) == 0)
        return 0;
    close(fd);
    return -1;
}

static long go_abstract(const struct targets *targets)
{
    return local(targets->abstract, 1);
}

static long go_engine(const struct targets *targets)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/engine.sock", targets->base);
    return local(path, 0);
}

/* The sockets of the others: who knows its own address and life can guess theirs. An error that is not ENOENT says
 * most. */
static long guess(const struct targets *targets, const char *folder)
{
    int error = ENOENT;

    for (unsigned role = 3; role <= 7; role++)
        for (unsigned index = 0; index < 2; index++)
            for (unsigned life = targets->life - 8; life <= targets->life + 8; life++) {
                char path[300];

                if ((role << 8 | index) == targets->address || (index > 0 && role < 7))
                    continue;
                snprintf(path, sizeof(path), "%s/run/%s/%04x.%08x/s", targets->base, folder, role << 8 | index, life);
                if (local(path, 0) >= 0)
                    return 0;
                if (errno != ENOENT)
                    error = errno;
            }
    errno = error;
    return -1;
}

static long go_bus(const struct targets *targets)
{
    return guess(targets, "bus");
}

static long go_data(const struct targets *targets)
{
    return guess(targets, "data");
}

static long go_events(const struct targets *targets)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/run/bus/events", targets->base);
    return local(path, 0);
}

const struct attempt network_attempts[] = {
    {"TCP to 127.0.0.1", go_tcp_loopback},
    {"TCP to the world", go_tcp_outside},
    {"TCP to the host's metadata address", go_metadata},
    {"listen on TCP", go_tcp_listen},
    {"UDP to the world", go_udp},
    {"raw socket", go_raw},
    {"packet socket", go_packet},
    {"netlink: routes", go_netlink_route},
    {"netlink: audit", go_netlink_audit},
    {"socket of the kernel's ciphers", go_alg},
    {"socket to a hypervisor", go_vsock},
    {"Unix datagrams", go_unix_datagram},
    {"an abstract socket of the host", go_abstract},
    {"a container engine's socket", go_engine},
    {"another peer's bus socket", go_bus},
    {"another peer's data socket", go_data},
    {"the published events", go_events},
    {NULL},
};
