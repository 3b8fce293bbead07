/* How each role's main() confines itself, for the prober. */
#ifndef TN_TESTS_ROLES_H
#define TN_TESTS_ROLES_H

#include "core/lib/confine.h"
#include "core/peer/service.h"

/* Takes the place of `program` (its path): reads the environment that tenond made, and says what that role's main()
 * would give to tn_confine_files(). Returns the role's name. The bus has no service: `service` is empty then. */
const char *role_begin(const char *program, struct tn_service *service, struct tn_confine *confine);

#endif
