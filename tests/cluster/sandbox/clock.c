/* Preloaded, lets the time of day be wrong by so many seconds as the file CLOCK_OFFSET says; all other clocks are right.
   gcc -shared -fPIC -O2 -o clock.so clock.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int (*real)(clockid_t, struct timespec *);

static long offset(void) {
    static __thread long value, looked = -1;
    struct timespec now;
    real(CLOCK_MONOTONIC, &now);
    if (looked != now.tv_sec) {
        FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
        if (file) {
            if (fscanf(file, "%ld", &value) != 1) value = 0;
            fclose(file);
        }
        looked = now.tv_sec;
    }
    return value;
}

int clock_gettime(clockid_t id, struct timespec *out) {
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, out);
    if (!failed && id == CLOCK_REALTIME) out->tv_sec += offset();
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
