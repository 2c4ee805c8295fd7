/* What the inference libraries share. */
#include "runner.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int find_symbols(void *library, const char *prefix, const char *names, void **places) {
  char symbol[128];
  for (const char *end; (end = strchr(names, ' ')); names = end + 1) {
    snprintf(symbol, sizeof symbol, "%s%.*s", prefix, (int)(end - names), names);
    *places = dlsym(library, symbol);
    if (!*places++) return fail("missing-symbol", "the library lacks %s", symbol);
  }
  return 1;
}

void leave(struct model *model) { (void)model; }

void leave_output(struct model *model, int index) {
  (void)model;
  (void)index;
}

enum kind tflite_kind(int number) {
  static const uint8_t tflite_kinds[] = {[1] = FLOAT32, [2] = INT32,  [3] = UINT8,  [4] = INT64,   [6] = BOOL,    [7] = INT16,
                                  [9] = INT8,    [10] = FLOAT16, [11] = FLOAT64, [13] = UINT64, [16] = UINT32, [17] = UINT16};
  return number >= 0 && (size_t)number < sizeof tflite_kinds ? tflite_kinds[number] : UNKNOWN;
}

int is_tflite(const struct model *model) {
  if (model->content.size >= 8 && !memcmp(model->content.bytes + 4, "TFL3", 4)) return 1;
  return fail("unsupported", "the file is no TFLite model");
}

int refused(const char *library, const char *step, int status) {
  return fail("unsupported", "%s refuses the model at %s, status %d: %s", library, step, status, library_said());
}
