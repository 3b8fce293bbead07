/* The file system that one process sees: a constructed root in a mount namespace of its own, with nothing in it but
 * what is added here, each at its path on the host. Made by the kernel before the process is born, entered by the
 * process before its first instruction. Linux 5.12 has all that it takes. */
#ifndef TN_KERNEL_TREE_H
#define TN_KERNEL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum tn_tree_kind {
    TN_TREE_READ,   /* the file or folder `source`, read-only; one that is not there is left out */
    TN_TREE_WRITE,  /* the same, to be changed, but nothing in it executed; it must be there */
    TN_TREE_DEVICE, /* a device */
    TN_TREE_LINK,   /* a symbolic link with the text `source` */
    TN_TREE_COPY,   /* a copy of the file `source`, which the process's user may not read itself */
    TN_TREE_EMPTY,  /* an empty folder that hides what lies there */
};

enum { TN_TREE_ENTRIES_MAX = 128 };

struct tn_tree_entry {
    enum tn_tree_kind kind;
    char *path;   /* owned; absolute, in the new root */
    char *source; /* owned; on the host */
};

struct tn_tree {
    struct tn_tree_entry entries[TN_TREE_ENTRIES_MAX];
    size_t count;
    bool overflow; /* an entry did not fit: it must not be used */
    char *base;    /* owned; a folder of the host on which the new root is put together */
    uid_t uid;     /* of copies */
    gid_t gid;
};

void tn_tree_init(struct tn_tree *tree, const char *base);
void tn_tree_free(struct tn_tree *tree);
/* `source` NULL: the same as `path`. A path that is there already is left as it was. */
void tn_tree_add(struct tn_tree *tree, enum tn_tree_kind kind, const char *path, const char *source);
/* Is this path of the host there at its place, by itself or by a folder above it? */
bool tn_tree_has(const struct tn_tree *tree, const char *path);
/* What every program needs to begin: libraries, the loader's cache, the time zone, four devices. */
void tn_tree_add_system(struct tn_tree *tree);
/* Brings parents before what lies in them. Last, before it is entered. */
void tn_tree_sort(struct tn_tree *tree);

/* In the new process, which has a mount namespace of its own. NULL, or the name of the step that failed, with errno;
 * `where` gets the path at which. The current folder is "/" then. */
const char *tn_tree_enter(const struct tn_tree *tree, char *where, size_t size);

#endif
