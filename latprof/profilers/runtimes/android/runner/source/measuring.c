/* Plans: bursts of runs, each run with its times and its core; and the state of the machine. */
#define _GNU_SOURCE
#include "runner.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct run {
  uint64_t wall_ns, cpu_ns;
  uint32_t switches, core;
};

struct burst {
  uint32_t model, runs;
  int64_t core, clock_khz, limit_khz;
};

static struct run runs[MOST_RUNS];
static struct burst bursts[MOST_BURSTS];

static uint64_t read_clock(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t now_ns(void) { return read_clock(CLOCK_MONOTONIC); }

/* The number in a small file, or -1 where it cannot be seen. */
static int64_t number_in(const char *format, int core) {
  char path[128], text[32];
  const char *at = text;
  uint64_t value;
  snprintf(path, sizeof path, format, core);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  if (size <= 0) return -1;
  text[size] = 0;
  return parse_number(&at, INT64_MAX / 2, &value) ? (int64_t)value : -1;
}

static int64_t clock_of(int core) { return number_in("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", core); }
static int64_t limit_of(int core) { return number_in("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_max_freq", core); }

/* ---- cores ---- */

typedef unsigned long mask[MOST_CORES / (8 * sizeof(unsigned long))];
enum { BITS = 8 * sizeof(unsigned long) };

static int allowed(mask cores) {
  memset(cores, 0, sizeof(mask));
  return sched_getaffinity(0, sizeof(mask), (void *)cores) == 0;
}

void add_affinity(void) {
  mask cores;
  int first = 1;
  addf(" cores=");
  for (int i = 0; allowed(cores) && i < MOST_CORES; i++) {
    if (!(cores[i / BITS] >> i % BITS & 1)) continue;
    addf(first ? "%d" : ",%d", i);
    first = 0;
  }
  addf(" on=%d", sched_getcpu());
}

int set_affinity(const char *text) {
  mask wanted = {0}, got;
  uint64_t core;
  for (const char *at = text;; at++) {
    if (!parse_number(&at, MOST_CORES - 1, &core)) return fail("bad-value", "cores are numbers with commas between them");
    wanted[core / BITS] |= 1ul << core % BITS;
    if (!*at) break;
    if (*at != ',') return fail("bad-value", "cores are numbers with commas between them");
  }
  if (sched_setaffinity(0, sizeof wanted, (const void *)wanted) != 0 || !allowed(got) || memcmp(got, wanted, sizeof got))
    return fail("affinity", "the system does not give all of the cores %.200s", text);
  int on = sched_getcpu();
  if (on < 0 || on >= MOST_CORES || !(wanted[on / BITS] >> on % BITS & 1))
    return fail("affinity", "the process stays on core %d", on);
  return 1;
}

/* ---- memory and conditions ---- */

static int64_t status_kb(const char *text, const char *name) {
  uint64_t value;
  const char *at = strstr(text, name);
  if (!at) return -1;
  for (at += strlen(name); *at == ' ' || *at == '\t'; at++) {}
  return parse_number(&at, INT64_MAX / 2, &value) ? (int64_t)value : -1;
}

static void read_text(const char *path, char *text, size_t room) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t size = file < 0 ? 0 : read(file, text, room - 1);
  if (file >= 0) close(file);
  text[size > 0 ? size : 0] = 0;
}

void add_memory(void) {
  char text[4096];
  read_text("/proc/self/status", text, sizeof text);
  addf(" rss_kb=%lld peak_kb=%lld", (long long)status_kb(text, "VmRSS:"), (long long)status_kb(text, "VmHWM:"));
}

void reset_memory_peak(void) {
  int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, "5", 1) != 1) { /* not allowed: the peak is that of the whole life */
  }
  close(file);
}

void add_conditions(void) {
  char text[4096];
  int first = 1;
  read_text("/proc/meminfo", text, sizeof text);
  addf(" now_ns=%llu available_kb=%lld", (unsigned long long)now_ns(), (long long)status_kb(text, "MemAvailable:"));
  read_text("/proc/loadavg", text, 32);
  char *end = strchr(text, ' ');
  if (end) *end = 0;
  add_escaped("load", *text ? text : "-1");
  addf(" clocks=");
  for (int core = 0; core < 64; core++) {
    int64_t clock = clock_of(core), limit = limit_of(core);
    if (clock < 0 && limit < 0) continue;
    addf(first ? "%d:%lld:%lld:%lld:%lld" : ",%d:%lld:%lld:%lld:%lld", core, (long long)clock, (long long)limit,
         (long long)number_in("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_min_freq", core),
         (long long)number_in("/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq", core));
    first = 0;
  }
}

/* ---- plans ---- */

/* Bursts as "0x4,1x16": model times runs. Returns how many, or 0. */
static int parse_bursts(const char *text, const struct model *models, uint64_t *total) {
  uint64_t model, count;
  int number = 0;
  *total = 0;
  for (const char *at = text;; at++) {
    if (number == MOST_BURSTS) return fail("bad-value", "a plan has up to %d bursts", MOST_BURSTS);
    if (!parse_number(&at, MOST_MODELS - 1, &model) || *at++ != 'x' || !parse_number(&at, MOST_RUNS, &count) || !count)
      return fail("bad-value", "bursts are like 0x4,1x16: a model's number, x, runs");
    if (!models[model].used) return fail("not-loaded", "no model %llu is loaded", (unsigned long long)model);
    if ((*total += count) > MOST_RUNS) return fail("bad-value", "a plan has up to %d runs", MOST_RUNS);
    bursts[number++] = (struct burst){(uint32_t)model, (uint32_t)count, -1, -1, -1};
    if (!*at) return number;
    if (*at != ',') return fail("bad-value", "bursts are like 0x4,1x16: a model's number, x, runs");
  }
}

/* The wall clock is read innermost: nothing but the run lies between its two readings. */
static int time_run(const struct api *api, struct model *model, struct run *run) {
  struct rusage before, after;
  api->tidy(model);
  getrusage(RUSAGE_THREAD, &before);
  uint64_t cpu = read_clock(CLOCK_THREAD_CPUTIME_ID), start = now_ns();
  int good = api->run(model);
  run->wall_ns = now_ns() - start;
  run->cpu_ns = read_clock(CLOCK_THREAD_CPUTIME_ID) - cpu;
  getrusage(RUSAGE_THREAD, &after);
  run->switches = (uint32_t)(after.ru_nivcsw - before.ru_nivcsw);
  run->core = (uint32_t)sched_getcpu();
  model->ran = good;
  return good;
}

static void add_plan(int count) {
  struct run *run = runs;
  addf(" runs=");
  for (int i = 0; i < count; i++) {
    if (i) addf(";");
    for (uint32_t j = 0; j < bursts[i].runs; j++, run++)
      addf(j ? ",%llu:%llu:%u:%u" : "%llu:%llu:%u:%u", (unsigned long long)run->wall_ns, (unsigned long long)run->cpu_ns,
           run->switches, run->core);
  }
  addf(" clocks=");
  for (int i = 0; i < count; i++)
    addf(i ? ",%lld:%lld:%lld" : "%lld:%lld:%lld", (long long)bursts[i].core, (long long)bursts[i].clock_khz,
         (long long)bursts[i].limit_khz);
}

int run_plan(const struct api *api, struct model *models, const char *text, uint64_t deadline_ms) {
  uint64_t total, made = 0;
  int count = parse_bursts(text, models, &total);
  if (!count) return 0;
  memset(runs, 0, total * sizeof *runs); /* no page is touched for the first time while it counts */
  reset_memory_peak();
  uint64_t start = now_ns(), last = start + deadline_ms * 1000000u;
  for (int i = 0; i < count; i++) {
    if (host_is_gone()) _exit(0);
    for (uint32_t j = 0; j < bursts[i].runs; j++, made++) {
      if (now_ns() > last)
        return fail("deadline", "%llu of %llu runs were made in %llu ms", (unsigned long long)made,
                    (unsigned long long)total, (unsigned long long)deadline_ms);
      if (!time_run(api, &models[bursts[i].model], &runs[made])) return 0;
    }
    bursts[i].core = runs[made - 1].core;
    bursts[i].clock_khz = clock_of((int)bursts[i].core);
    bursts[i].limit_khz = limit_of((int)bursts[i].core);
  }
  addf(" start_ns=%llu end_ns=%llu", (unsigned long long)start, (unsigned long long)now_ns());
  add_plan(count);
  add_memory();
  return 1;
}
