/* Inputs and outputs: their kinds, sizes and random values. */
#include "runner.h"

#include <string.h>

static const struct {
  const char *name;
  size_t bytes;
} kinds[] = {
    [UNKNOWN] = {"unknown", 0}, [FLOAT32] = {"float32", 4}, [FLOAT64] = {"float64", 8},
    [FLOAT16] = {"float16", 2}, [INT8] = {"int8", 1},       [UINT8] = {"uint8", 1},
    [INT16] = {"int16", 2},     [UINT16] = {"uint16", 2},   [INT32] = {"int32", 4},
    [UINT32] = {"uint32", 4},   [INT64] = {"int64", 8},     [UINT64] = {"uint64", 8},
    [BOOL] = {"bool", 1},
};

const char *kind_name(enum kind kind) { return kinds[kind].name; }
size_t kind_bytes(enum kind kind) { return kinds[kind].bytes; }

int size_tensor(struct tensor *tensor) {
  uint64_t bytes = kinds[tensor->kind].bytes;
  if (!bytes) return fail("unsupported", "%s is of a type that has no values here", tensor->name);
  for (int i = 0; i < tensor->rank; i++) {
    int64_t dim = tensor->dims[i];
    if (dim < 0) return fail("unsupported", "%s has a dynamic shape", tensor->name);
    if (dim && bytes > (UINT64_MAX >> 1) / (uint64_t)dim) bytes = UINT64_MAX >> 1;
    else bytes *= (uint64_t)dim;
  }
  if (bytes > 0x7fffffff) return fail("no-memory", "%s has more than 2 GB", tensor->name);
  tensor->bytes = (size_t)bytes;
  return 1;
}

/* A half from a float of at most 2, towards zero. */
static uint16_t half(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  int exponent = (int)(bits >> 23 & 255) - 112;
  uint32_t sign = bits >> 16 & 0x8000;
  return (uint16_t)(exponent <= 0 ? sign : sign | (uint32_t)exponent << 10 | (bits >> 13 & 0x3ff));
}

void fill_tensor(const struct tensor *tensor, uint32_t seed, void *bytes) {
  size_t width = kinds[tensor->kind].bytes;
  for (size_t i = 0; i < tensor->bytes / width; i++) {
    uint8_t *at = (uint8_t *)bytes + i * width;
    float real = uniform_value(seed, (uint32_t)i, 1.7320508f);
    double wide = real;
    uint16_t narrow = half(real);
    uint64_t whole = tensor->kind == BOOL ? mixed_bits(seed, (uint32_t)i) & 1 : 1 + mixed_bits(seed, (uint32_t)i) % 7;
    memcpy(at, tensor->kind == FLOAT32 ? (void *)&real : tensor->kind == FLOAT64 ? (void *)&wide
               : tensor->kind == FLOAT16 ? (void *)&narrow : (void *)&whole, width);
  }
}

void add_tensors(const char *name, const struct tensor *tensors, int count) {
  addf(" %s=", name);
  for (int i = 0; i < count; i++) {
    if (i) addf("|");
    add_escaped_part(tensors[i].name);
    addf(":%s:", kind_name(tensors[i].kind));
    for (int j = 0; j < tensors[i].rank; j++) addf(j ? "x%lld" : "%lld", (long long)tensors[i].dims[j]);
  }
}
