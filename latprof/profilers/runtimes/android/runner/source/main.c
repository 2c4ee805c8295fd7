/* One request after the other, until the input ends. */
#include "runner.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#ifdef LATPROF_ANDROID
#define SYSTEM "android"
#else
#define SYSTEM "linux"
#endif
#ifdef __aarch64__
#define MACHINE "arm64"
#else
#define MACHINE "x86_64"
#endif

static struct api api;
static struct model models[MOST_MODELS];
static uint64_t current;

static void answer_fault(uint64_t number) {
  begin_answer(number, "err");
  add_escaped("code", fault_code);
  add_escaped("text", fault_text);
  send_answer();
}

/* ---- deadlines and crashes: the last answer of a process ---- */

static void last_words(int signal_number) {
  signal(signal_number, SIG_DFL);
  if (signal_number == SIGALRM) fail("deadline", "the library did not come back in time");
  else fail("crashed", "the library ended with signal %d: %s", signal_number, library_said());
  answer_fault(current);
  _exit(3);
}

/* A crash of the library ends the process with an answer. */
static void catch_crashes(void) {
  static const int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], last_words);
  signal(SIGPIPE, SIG_IGN);
}

/* Ends the process with an answer when the request takes longer. */
static void guard_request(uint64_t number, uint64_t deadline_ms) {
  uint64_t ms = deadline_ms + 2000; /* what can end by itself does so first */
  struct itimerval timer = {{0, 0}, {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)}};
  current = number;
  setitimer(ITIMER_REAL, &timer, NULL);
}

static void unguard_request(void) {
  struct itimerval none = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &none, NULL);
}

/* ---- requests ---- */

static int needed(const struct request *request, const char *name, const char **value) {
  *value = text_field(request, name);
  if (!*value || !**value) return fail("bad-value", "%s is missing", name);
  if (strlen(*value) >= MOST_PATH) return fail("bad-value", "%s is too long", name);
  return 1;
}

static int do_open(const struct request *request) {
  const char *path;
  if (api.name) return fail("bad-value", "a library is open already");
  if (!needed(request, "path", &path)) return 0;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = dlerror();
    return fail("no-library", "%s", why ? why : path);
  }
  struct api found = {0};
  int good;
  if (dlsym(library, "OrtGetApiBase")) good = open_onnxruntime(library, &found);
  else if (dlsym(library, "LiteRtCreateEnvironment")) good = open_litert(library, &found);
  else if (dlsym(library, "TfLiteModelCreate")) good = open_tflite(library, &found);
  else good = fail("no-library", "the file is neither LiteRT, TFLite with its C API, nor ONNX Runtime");
  if (!good) return 0;
  api = found;
  begin_answer(request->number, "ok");
  addf(" api=%s", api.name);
  add_escaped("version", api.version);
  return 1;
}

static int find_model(const struct request *request, struct model **model) {
  uint64_t number;
  if (!number_field(request, "model", UINT64_MAX, MOST_MODELS - 1, &number)) return 0;
  *model = &models[number];
  if (!api.name) return fail("no-library", "no library is open");
  return (*model)->used ? 1 : fail("not-loaded", "no model %llu is loaded", (unsigned long long)number);
}

static int feed_random(struct model *model) {
  for (int i = 0; i < model->inputs; i++) {
    void *bytes = malloc(model->in[i].bytes + 8);
    if (!bytes) return fail("no-memory", "no memory for input %d", i);
    fill_tensor(&model->in[i], model->seed + (uint32_t)i, bytes);
    int good = api.feed(model, i, bytes);
    free(bytes);
    if (!good) return 0;
  }
  return 1;
}

static void drop_model(struct model *model) {
  api.unload(model);
  free_content(&model->content);
  model->used = 0;
}

static int do_load(const struct request *request) {
  uint64_t number, threads, seed;
  const char *path, *profile = text_field(request, "profile");
  if (!api.name) return fail("no-library", "no library is open");
  if (!number_field(request, "model", UINT64_MAX, MOST_MODELS - 1, &number) ||
      !number_field(request, "threads", 1, 1024, &threads) || !number_field(request, "seed", 0, UINT32_MAX, &seed) ||
      !needed(request, "path", &path))
    return 0;
  struct model *model = &models[number];
  if (model->used) return fail("bad-value", "model %llu is loaded already", (unsigned long long)number);
  if (!threads || (profile && strlen(profile) >= MOST_PATH)) return fail("bad-value", "no threads, or too long a profile");
  memset(model, 0, sizeof *model);
  model->threads = (int)threads;
  model->seed = (uint32_t)seed;
  memcpy(model->path, path, strlen(path));
  if (profile) memcpy(model->profile, profile, strlen(profile));
  reset_memory_peak();
  uint64_t start = now_ns();
  if (!read_content(path, text_field(request, "sha256"), &model->content)) return 0;
  uint64_t read = now_ns();
  if (!api.load(model)) return free_content(&model->content), 0;
  model->used = 1;
  if (!feed_random(model)) return drop_model(model), 0;
  begin_answer(request->number, "ok");
  addf(" bytes=%zu skeleton=%d read_ns=%llu load_ns=%llu", model->content.size, model->content.skeleton,
       (unsigned long long)(read - start), (unsigned long long)(now_ns() - read));
  add_memory();
  add_tensors("inputs", model->in, model->inputs);
  add_tensors("outputs", model->out, model->outputs);
  return 1;
}

static int do_unload(const struct request *request) {
  struct model *model;
  if (!find_model(request, &model)) return 0;
  drop_model(model);
  begin_answer(request->number, "ok");
  add_memory();
  return 1;
}

/* An input from a file of raw values. */
static int do_input(const struct request *request) {
  struct model *model;
  struct content content;
  uint64_t index;
  const char *path;
  if (!find_model(request, &model) || !number_field(request, "index", UINT64_MAX, MOST_TENSORS - 1, &index) ||
      !needed(request, "path", &path))
    return 0;
  if ((int)index >= model->inputs) return fail("bad-value", "the model has %d inputs", model->inputs);
  if (!read_content(path, text_field(request, "sha256"), &content)) return 0;
  int good = content.size == model->in[index].bytes
                 ? api.feed(model, (int)index, content.bytes)
                 : fail("bad-value", "the file has %zu bytes, the input %zu", content.size, model->in[index].bytes);
  free_content(&content);
  if (good) begin_answer(request->number, "ok");
  return good;
}

static int do_plan(const struct request *request, uint64_t deadline_ms) {
  const char *bursts = text_field(request, "bursts");
  if (!api.name) return fail("no-library", "no library is open");
  if (!bursts) return fail("bad-value", "bursts is missing");
  begin_answer(request->number, "ok");
  return run_plan(&api, models, bursts, deadline_ms);
}

static int do_kernels(const struct request *request) {
  struct model *model;
  uint64_t runs;
  if (!find_model(request, &model) || !number_field(request, "runs", 1, MOST_KERNEL_RUNS, &runs)) return 0;
  if (!runs) return fail("bad-value", "runs is 0");
  begin_answer(request->number, "ok");
  return api.kernels(model, (int)runs);
}

static int do_output(const struct request *request) {
  struct model *model;
  uint64_t index, most;
  const void *bytes;
  size_t size;
  char hex[65];
  if (!find_model(request, &model) || !number_field(request, "index", 0, MOST_TENSORS - 1, &index) ||
      !number_field(request, "bytes", 0, MOST_OUTPUT, &most))
    return 0;
  if ((int)index >= model->outputs) return fail("bad-value", "the model has %d outputs", model->outputs);
  if (!model->ran) return fail("bad-value", "the model has not run yet");
  if (!api.peek(model, (int)index, &bytes, &size)) return 0;
  sha256_hex(bytes, size, hex);
  begin_answer(request->number, "ok");
  addf(" sha256=%s bytes=%zu", hex, size);
  add_tensors("output", &model->out[index], 1);
  addf(" data=");
  add_hex(bytes, size < most ? size : (size_t)most);
  api.done(model, (int)index);
  return 1;
}

static int do_affinity(const struct request *request) {
  const char *cores;
  if (!needed(request, "cores", &cores) || !set_affinity(cores)) return 0;
  begin_answer(request->number, "ok");
  add_affinity();
  return 1;
}

static int do_conditions(const struct request *request) {
  begin_answer(request->number, "ok");
  add_conditions();
  add_affinity();
  add_memory();
  return 1;
}

static int do_request(const struct request *request) {
  uint64_t deadline_ms;
  if (!number_field(request, "deadline_ms", 60000, 86400000, &deadline_ms)) return 0;
  guard_request(request->number, deadline_ms);
  if (!strcmp(request->verb, "plan")) return do_plan(request, deadline_ms);
  static const struct {
    const char *verb;
    int (*carry_out)(const struct request *);
  } verbs[] = {{"open", do_open},       {"load", do_load},     {"unload", do_unload},     {"input", do_input},
               {"kernels", do_kernels}, {"output", do_output}, {"affinity", do_affinity}, {"conditions", do_conditions}};
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (!strcmp(request->verb, verbs[i].verb)) return verbs[i].carry_out(request);
  return fail("unknown-request", "there is no request %.100s", request->verb);
}

static void greet(int idle_ms) {
  begin_answer(0, "hello");
  addf(" protocol=%d runner=" RUNNER_VERSION " abi=" MACHINE "-" SYSTEM " pid=%d idle_ms=%d", PROTOCOL, getpid(), idle_ms);
  add_affinity();
  send_answer();
}

/* glibc gives large blocks mappings of their own until one is given back, and smaller ones the heap
 * after that. The references are loaded first: they would lie otherwise than every network. So one is
 * given back at once, as by a process that did other work before. Android's allocator differs. */
static void load_alike(void) {
#ifndef LATPROF_ANDROID
  void *volatile block = malloc((32 << 20) - 8192);
  free(block);
#endif
}

int main(int count, char **arguments) {
  const char *idle = count > 1 ? arguments[1] : "600000";
  uint64_t idle_ms;
  if (!parse_number(&idle, 86400000, &idle_ms) || *idle || count > 2) return 2;
  load_alike();
  open_wire();
  catch_crashes();
  greet((int)idle_ms);
  for (char *line; (line = next_line((int)idle_ms));) {
    struct request request;
    const char *wrong = parse_request(line, &request);
    if (wrong) {
      fail("garbled", "%s", wrong);
      answer_fault(0);
      continue;
    }
    int good = do_request(&request);
    unguard_request();
    library_said(); /* what was said belongs to this request */
    if (good) send_answer();
    else answer_fault(request.number);
  }
  _exit(0);
}
