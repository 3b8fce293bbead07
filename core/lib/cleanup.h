/* Ownership helpers: locals that clean up after themselves, and an explicit hand-over.
 *
 *     auto_free char *name = strdup("x");
 *     auto_fd int fd = open(...);
 *     out->name = steal_ptr(&name);      the local is NULL afterwards and nothing is freed
 *     out->fd = steal_fd(&fd);           the local is -1 afterwards and nothing is closed
 */
#ifndef TN_CLEANUP_H
#define TN_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void tn_cleanup_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline void tn_cleanup_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void tn_cleanup_file(FILE **file)
{
    if (*file != NULL)
        (void)fclose(*file);
}

static inline void tn_cleanup_dir(DIR **dir)
{
    if (*dir != NULL)
        closedir(*dir);
}

#define auto_free __attribute__((cleanup(tn_cleanup_free)))
#define auto_fd __attribute__((cleanup(tn_cleanup_fd)))
#define auto_file __attribute__((cleanup(tn_cleanup_file)))
#define auto_dir __attribute__((cleanup(tn_cleanup_dir)))

#define steal_ptr(place)                                                                                               \
    ({                                                                                                                 \
        __typeof__(*(place)) stolen_ = *(place);                                                                       \
        *(place) = NULL;                                                                                               \
        stolen_;                                                                                                       \
    })

static inline int steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

#endif
