/* Failures of the system that a test injects into hubd, by LD_PRELOAD. See interposed.py for the variables.

   Each variable names a control file, so that a test can switch a failure on and off while hubd runs; a file
   that does not exist injects nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT(name) \
  static __typeof__(&name) next; \
  if (!next) next = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

/* The number in the control file that `variable` names; `missing` if there is no file. */
static double control(const char *variable, double missing) {
  const char *path = getenv(variable);
  FILE *file = path ? fopen(path, "r") : NULL;
  double value = missing;
  if (!file) return missing;
  if (fscanf(file, "%lf", &value) != 1) value = missing;
  fclose(file);
  return value;
}

static void pause_for(double seconds) {
  if (seconds > 0) usleep((useconds_t) (seconds * 1e6));
}

/* A resolver whose name servers do not answer: as glibc after its timeouts, EAI_AGAIN. While they do answer,
   hang.example is this machine. Nobody is asked about a numeric address, so that answer comes at once. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  NEXT(getaddrinfo);
  int asks = node && strstr(node, "hang") && !(hints && hints->ai_flags & AI_NUMERICHOST);
  double seconds = asks ? control("INTERPOSE_RESOLVER", -1) : -1;
  if (seconds >= 0) {
    pause_for(seconds);
    return EAI_AGAIN;
  }
  if (asks && strcmp(node, "hang.example") == 0) node = "127.0.0.1";
  return next(node, service, hints, result);
}

/* Whether `fd` is the main database file, which only a checkpoint writes to. */
static int is_database(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 7) return 0;
  path[length] = 0;
  return strcmp(path + length - 7, "/hub.db") == 0;
}

/* INTERPOSE_CHECKPOINT holds n > 0: the process is killed after its n-th write to hub.db since the file was
   first seen; 0: after the write of a first page that counts more pages than the file has. */
static void checkpoint_written(int fd, off_t offset) {
  static long written;
  const char *armed = getenv("INTERPOSE_CHECKPOINT");
  if (!armed || access(armed, F_OK) != 0 || !is_database(fd)) return;
  double limit = control("INTERPOSE_CHECKPOINT", -1);
  if (limit > 0 && ++written >= (long) limit) kill(getpid(), SIGKILL);
  if (limit == 0 && offset == 0) {
    unsigned char head[32];
    struct stat about;
    if (pread(fd, head, sizeof head, 0) == (ssize_t) sizeof head && fstat(fd, &about) == 0) {
      unsigned long page = (head[16] << 8) | head[17];
      unsigned long pages = ((unsigned long) head[28] << 24) | (head[29] << 16) | (head[30] << 8) | head[31];
      if (page == 1) page = 65536;
      if (pages * page > (unsigned long) about.st_size) kill(getpid(), SIGKILL);
    }
  }
}

/* INTERPOSE_READ holds an offset: hub.db cannot be read from there on, as on a disk with a bad sector. */
static int cannot_be_read(int fd, size_t size, off_t offset) {
  const char *armed = getenv("INTERPOSE_READ");
  if (!armed || access(armed, F_OK) != 0 || !is_database(fd)) return 0;
  if (offset + (off_t) size <= (off_t) control("INTERPOSE_READ", 1e18)) return 0;
  errno = EIO;
  return 1;
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
  NEXT(pread64);
  return cannot_be_read(fd, size, (off_t) offset) ? -1 : next(fd, data, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
  return pread64(fd, data, size, offset);
}

ssize_t read(int fd, void *data, size_t size) {
  NEXT(read);
  return cannot_be_read(fd, size, lseek(fd, 0, SEEK_CUR)) ? -1 : next(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  NEXT(pwrite64);
  ssize_t done = next(fd, data, size, offset);
  if (done > 0) checkpoint_written(fd, (off_t) offset);
  return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  return pwrite64(fd, data, size, offset);
}

/* The name of each file that is flushed is appended to the file that INTERPOSE_FLUSHED names. */
static void note_flush(int fd) {
  char link[64], path[4096];
  const char *name = getenv("INTERPOSE_FLUSHED");
  FILE *notes = name && access(name, F_OK) == 0 ? fopen(name, "a") : NULL;
  if (!notes) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length > 0) fprintf(notes, "%.*s\n", (int) length, path);
  fclose(notes);
}

/* INTERPOSE_FSYNC holds the seconds that each flush to the disk takes longer. */
int fsync(int fd) {
  NEXT(fsync);
  note_flush(fd);
  pause_for(control("INTERPOSE_FSYNC", 0));
  return next(fd);
}

int fdatasync(int fd) {
  NEXT(fdatasync);
  pause_for(control("INTERPOSE_FSYNC", 0));
  return next(fd);
}

/* INTERPOSE_FLOCK holds the errno with which every flock fails, as on a file system without locks. */
int flock(int fd, int operation) {
  NEXT(flock);
  int failure = (int) control("INTERPOSE_FLOCK", 0);
  if (failure) {
    errno = failure;
    return -1;
  }
  return next(fd, operation);
}
