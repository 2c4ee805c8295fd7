/* latprof's runner: loads models with an inference library and runs bursts of them as it is told,
 * a line of text a request. docs/runner.md describes the protocol. */
#ifndef LATPROF_RUNNER_H
#define LATPROF_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#define PROTOCOL 1
#define RUNNER_VERSION "1"

enum {
  MOST_LINE = 65536,     /* bytes of a request */
  MOST_MODELS = 64,      /* loaded at a time */
  MOST_TENSORS = 64,     /* inputs or outputs of a model */
  MOST_RANK = 8,
  MOST_BURSTS = 4096,    /* of a plan */
  MOST_RUNS = 65536,     /* of a plan */
  MOST_KERNEL_RUNS = 100,
  MOST_CORES = 1024,
  MOST_PATH = 4096,
  MOST_OUTPUT = 1 << 20, /* bytes of an output that an answer carries */
};

/* ---- faults.c ---- */

/* Notes what failed and returns 0, so that callers can return fail(...). */
int fail(const char *code, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern const char *fault_code;
extern char fault_text[600];

/* ---- wire.c: lines ---- */

struct field {
  const char *name, *value;
};

struct request {
  uint64_t number;
  const char *verb;
  struct field fields[16];
  int count;
};

uint32_t crc32_of(uint32_t crc, const void *bytes, size_t size);
void open_wire(void);
/* The next line without its end, or NULL where the input has ended; "" for one that is too long.
 * Exits after idle_ms without one. */
char *next_line(int idle_ms);
/* Whether the input has ended and holds no request any more; costs a system call, waits for nothing. */
int host_is_gone(void);
/* NULL where the line is a request, else what is wrong with it. */
const char *parse_request(char *line, struct request *request);
const char *text_field(const struct request *request, const char *name);
/* Whether the field is a whole number up to most; the fallback where it is absent. */
int number_field(const struct request *request, const char *name, uint64_t fallback, uint64_t most,
                 uint64_t *value);
int parse_number(const char **text, uint64_t most, uint64_t *value);

void begin_answer(uint64_t number, const char *kind);
void add_raw(const char *text, size_t size);
void addf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void add_escaped(const char *name, const char *value);
void add_escaped_part(const char *value);
void add_hex(const void *bytes, size_t size);
void send_answer(void);
/* What the library wrote to stderr since it was last asked. */
const char *library_said(void);

/* ---- files.c ---- */

struct content {
  uint8_t *bytes;
  size_t size, mapped;
  int skeleton;
};

void sha256_hex(const uint8_t *bytes, size_t size, char hex[65]);
/* Reads a file, checks its digest where one is given, and fills it where it is a skeleton. */
int read_content(const char *path, const char *sha256, struct content *content);
void free_content(struct content *content);
/* Value number i of a stream of random bits; docs/runner.md and skeletons.py state it. */
uint32_t mixed_bits(uint32_t seed, uint32_t i);
float uniform_value(uint32_t seed, uint32_t i, float scale);

/* ---- tensors.c ---- */

enum kind { UNKNOWN, FLOAT32, FLOAT64, FLOAT16, INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, UINT64, BOOL };

struct tensor {
  char name[128];
  enum kind kind;
  int rank;
  int64_t dims[MOST_RANK];
  size_t bytes;
};

const char *kind_name(enum kind kind);
size_t kind_bytes(enum kind kind);
/* Sets bytes from kind and dims; a fault for a dynamic shape or a kind that cannot be filled. */
int size_tensor(struct tensor *tensor);
/* Normal scale for floats (uniform with a variance of 1), 1 to 7 for integers, 0 and 1 for booleans. */
void fill_tensor(const struct tensor *tensor, uint32_t seed, void *bytes);
void add_tensors(const char *name, const struct tensor *tensors, int count);

/* ---- the libraries ---- */

struct model {
  int used, threads, ran;
  uint32_t seed;
  char path[MOST_PATH], profile[MOST_PATH];
  struct content content;
  int inputs, outputs;
  struct tensor in[MOST_TENSORS], out[MOST_TENSORS];
  void *state; /* the library's */
};

struct api {
  const char *name;
  char version[64];
  int (*load)(struct model *model);
  /* Copies into an input. */
  int (*feed)(struct model *model, int index, const void *bytes);
  int (*run)(struct model *model);
  /* What a run left behind is freed, outside of the time that counts. */
  void (*tidy)(struct model *model);
  /* Output as it was left by the last run; finished with done. */
  int (*peek)(struct model *model, int index, const void **bytes, size_t *size);
  void (*done)(struct model *model, int index);
  void (*unload)(struct model *model);
  /* Runs with the profiler on and adds what it recorded to the answer. */
  int (*kernels)(struct model *model, int runs);
};

/* ---- libraries.c ---- */

/* Looks up names, each with a space after it, into consecutive places; a fault names the first
 * missing one. */
int find_symbols(void *library, const char *prefix, const char *names, void **places);
void leave(struct model *model);
void leave_output(struct model *model, int index);
enum kind tflite_kind(int number);
int is_tflite(const struct model *model);
int refused(const char *library, const char *step, int status);

/* ---- litert.c, tflite.c, onnxruntime.c ---- */

int open_litert(void *library, struct api *api);
int open_tflite(void *library, struct api *api);
int open_onnxruntime(void *library, struct api *api);

/* ---- measuring.c ---- */

uint64_t now_ns(void);
int set_affinity(const char *cores);
void add_affinity(void);
void add_memory(void);
void reset_memory_peak(void);
void add_conditions(void);
int run_plan(const struct api *api, struct model *models, const char *bursts, uint64_t deadline_ms);

#endif
