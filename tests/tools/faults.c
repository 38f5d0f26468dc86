/* Faults at a chosen sync of a process: preloaded into the server, steered through a file that the test writes.
 *
 * The file holds three numbers of 64 bits: how many syncs there were, at which one the fault comes (0: none), and which: 1 the
 * process is killed, 2 the sync fails with EIO, 3 from then on every write to a file fails with ENOSPC, until the test says 0.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct steering {
    _Atomic int64_t syncs, at, kind;
};
static struct steering *steering;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *steering, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) steering = at;
    close(fd);
}

static int sync_now(long call, int fd) {
    if (steering) {
        int64_t now = atomic_fetch_add(&steering->syncs, 1) + 1, at = now;
        int64_t kind = atomic_load(&steering->kind);
        if (kind && atomic_compare_exchange_strong(&steering->at, &at, 0)) {
            if (kind == 1) kill(getpid(), SIGKILL);
            if (kind == 2) {
                errno = EIO;
                return -1;
            }
        }
    }
    return (int)syscall(call, fd);
}

int fsync(int fd) { return sync_now(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_now(SYS_fdatasync, fd); }

/* The disk is full once its moment has come, for files and for nothing else. */
static int is_full(int fd) {
    struct stat about;
    /* A file in memory is a file too, and on no disk: it has no name. */
    if (steering && fstat(fd, &about) == 0 && about.st_nlink == 0) return 0;
    return steering && atomic_load(&steering->kind) == 3 && atomic_load(&steering->at) == 0 && fstat(fd, &about) == 0 &&
           S_ISREG(about.st_mode);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    if (fd > 2 && is_full(fd)) return errno = ENOSPC, -1;
    return syscall(SYS_write, fd, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    if (is_full(fd)) return errno = ENOSPC, -1;
    return syscall(SYS_pwrite64, fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at) { return pwrite(fd, bytes, size, at); }
