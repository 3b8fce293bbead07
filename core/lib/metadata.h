/* Addresses at which clouds tell a host about itself, credentials included, to whoever asks from there. Jobs have no
 * business with them unless network.metadata says so. Some of them answer as name servers, too, so port 53 stays open.
 * Only a table, so that the agent can use it. */
#ifndef TN_LIB_METADATA_H
#define TN_LIB_METADATA_H

#include <stdint.h>

enum { TN_METADATA_OPEN_PORT = 53 };

struct tn_metadata_v4 {
    uint8_t address[4];
    uint8_t bits; /* of the prefix */
};

static const struct tn_metadata_v4 tn_metadata_v4[] = {
    {{169, 254, 169, 254}, 32}, /* EC2, Azure, Google, OpenStack, Oracle, DigitalOcean, Hetzner … */
    {{169, 254, 170, 0}, 24},   /* credentials of ECS tasks (.2) and EKS pods (.23) */
    {{100, 100, 100, 200}, 32}, /* Alibaba */
    {{168, 63, 129, 16}, 32},   /* Azure's WireServer */
};

static const uint8_t tn_metadata_v6[][16] = {
    {0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}, /* EC2: fd00:ec2::254 */
    {0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x23}, /* EKS pods: fd00:ec2::23 */
    {0xfd, 0x20, 0x00, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}, /* Google: fd20:ce::254 */
    {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa9, 0xfe, 0xa9, 0xfe}, /* OpenStack: fe80::a9fe:a9fe */
};

#endif
