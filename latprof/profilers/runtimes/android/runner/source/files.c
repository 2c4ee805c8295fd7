/* Model files: read once, hashed while reading, skeletons filled. */
#include "runner.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- SHA-256, FIPS 180-4 ---- */

struct sha256 {
  uint32_t state[8];
  uint8_t block[64];
  uint64_t size;
};

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline __attribute__((always_inline)) uint32_t turned(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void sha256_block(uint32_t state[8], const uint8_t *block) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
           (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    uint32_t x = w[i - 15], y = w[i - 2];
    w[i] = w[i - 16] + (turned(x, 7) ^ turned(x, 18) ^ x >> 3) + w[i - 7] +
           (turned(y, 17) ^ turned(y, 19) ^ y >> 10);
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int i = 0; i < 64; i++) {
    uint32_t one = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
    uint32_t two = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + one;
    d = c, c = b, b = a, a = one + two;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static void sha256_begin(struct sha256 *hash) {
  static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(hash->state, first, 32);
  hash->size = 0;
}

static void sha256_add(struct sha256 *hash, const uint8_t *bytes, size_t size) {
  while (size) {
    size_t at = hash->size % 64, part = 64 - at < size ? 64 - at : size;
    if (part == 64) {
      sha256_block(hash->state, bytes);
    } else {
      memcpy(hash->block + at, bytes, part);
      if (at + part == 64) sha256_block(hash->state, hash->block);
    }
    hash->size += part;
    bytes += part;
    size -= part;
  }
}

static void sha256_end(struct sha256 *hash, char hex[65]) {
  uint64_t bits = hash->size * 8;
  uint8_t tail[8];
  for (int i = 0; i < 8; i++) tail[i] = (uint8_t)(bits >> (56 - 8 * i));
  sha256_add(hash, (const uint8_t *)"\x80", 1);
  while (hash->size % 64 != 56) sha256_add(hash, (const uint8_t *)"", 1);
  sha256_add(hash, tail, 8);
  for (int i = 0; i < 64; i++) hex[i] = "0123456789abcdef"[hash->state[i / 8] >> (28 - i % 8 * 4) & 15];
  hex[64] = 0;
}

void sha256_hex(const uint8_t *bytes, size_t size, char hex[65]) {
  struct sha256 hash;
  sha256_begin(&hash);
  sha256_add(&hash, bytes, size);
  sha256_end(&hash, hex);
}

/* ---- skeletons: latprof/graph/convert/skeletons.py ---- */

uint32_t mixed_bits(uint32_t seed, uint32_t i) {
  uint32_t h = seed + i * 0x9E3779B9u;
  h ^= h >> 16;
  h *= 0x85EBCA6Bu;
  h ^= h >> 13;
  h *= 0xC2B2AE35u;
  return h ^ h >> 16;
}

float uniform_value(uint32_t seed, uint32_t i, float scale) {
  return (float)((int32_t)(mixed_bits(seed, i) >> 8) - 8388608) * 0x1p-23f * scale;
}

typedef uint32_t lanes __attribute__((vector_size(16)));
typedef int32_t signed_lanes __attribute__((vector_size(16)));
typedef float floats __attribute__((vector_size(16)));

/* The same bits as uniform_value's, four at a time: each load of a skeleton has millions. */
static void fill_values(uint8_t *out, uint32_t seed, uint32_t count, float scale) {
  lanes place = {0, 1, 2, 3};
  uint32_t i = 0;
  for (; i + 4 <= count; i += 4, place += 4) {
    lanes h = seed + place * 0x9E3779B9u;
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    h ^= h >> 13;
    h *= 0xC2B2AE35u;
    h ^= h >> 16;
    floats values = __builtin_convertvector((signed_lanes)(h >> 8) - 8388608, floats) * 0x1p-23f * scale;
    memcpy(out + (size_t)i * 4, &values, 16);
  }
  for (; i < count; i++) {
    float value = uniform_value(seed, i, scale);
    memcpy(out + (size_t)i * 4, &value, 4);
  }
}

struct fill {
  uint64_t start, count;
  float scale;
  uint32_t seed;
};

enum { HEAD_BYTES = 24, FILL_BYTES = 24 };
static const uint64_t MOST_MODEL = 0x7fffffff;

static int map_bytes(struct content *content, size_t size) {
  content->mapped = size ? size : 1;
  content->bytes = mmap(NULL, content->mapped, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  content->size = size;
  if (content->bytes != MAP_FAILED) return 1;
  content->bytes = NULL;
  return fail("no-memory", "%zu bytes for the model's file are not to be had", size);
}

void free_content(struct content *content) {
  if (content->bytes) munmap(content->bytes, content->mapped);
  content->bytes = NULL;
}

static int damaged(const char *how) { return fail("bad-skeleton", "the skeleton is damaged: %s", how); }

static int check_fill(const struct fill *fill, uint64_t end, uint64_t size) {
  return fill->start >= end && fill->start <= size && fill->count >= 1 &&
         fill->count <= (size - fill->start) / 4 && fill->scale > 0 && fill->scale <= 0x1.fffffep127f;
}

/* Lays the file's own bytes and the fills into place; both machines are little-endian. */
static int fill_skeleton(const struct content *from, struct content *to) {
  uint64_t size;
  uint32_t fills, crc;
  memcpy(&size, from->bytes + 8, 8);
  memcpy(&fills, from->bytes + 16, 4);
  memcpy(&crc, from->bytes + 20, 4);
  if (crc32_of(0, from->bytes + HEAD_BYTES, from->size - HEAD_BYTES) != crc) return damaged("its checksum does not fit");
  if (size > MOST_MODEL || fills > (from->size - HEAD_BYTES) / FILL_BYTES) return damaged("its sizes do not fit");
  const uint8_t *table = from->bytes + HEAD_BYTES, *rest = table + (size_t)fills * FILL_BYTES;
  uint64_t left = from->size - HEAD_BYTES - (uint64_t)fills * FILL_BYTES, end = 0;
  struct fill fill;
  for (uint32_t i = 0; i < fills; i++) {
    memcpy(&fill, table + (size_t)i * FILL_BYTES, FILL_BYTES);
    if (!check_fill(&fill, end, size)) return damaged("a fill lies outside of the file or in another fill");
    if (fill.start - end > left) return damaged("its parts are not as long as it says");
    left -= fill.start - end;
    end = fill.start + fill.count * 4;
  }
  if (left != size - end) return damaged("its parts are not as long as it says");
  if (!map_bytes(to, (size_t)size)) return 0;
  end = 0;
  for (uint32_t i = 0; i < fills; i++) {
    memcpy(&fill, table + (size_t)i * FILL_BYTES, FILL_BYTES);
    memcpy(to->bytes + end, rest, fill.start - end);
    rest += fill.start - end;
    fill_values(to->bytes + fill.start, fill.seed, (uint32_t)fill.count, fill.scale);
    end = fill.start + fill.count * 4;
  }
  memcpy(to->bytes + end, rest, size - end);
  to->skeleton = 1;
  return 1;
}

static int read_hashed(int file, const char *path, const char *sha256, struct content *content) {
  struct sha256 hash;
  char hex[65];
  sha256_begin(&hash);
  for (size_t at = 0; at < content->size;) {
    size_t part = content->size - at < (1 << 18) ? content->size - at : 1 << 18;
    ssize_t got = read(file, content->bytes + at, part);
    if (got <= 0) return fail("no-file", "%.400s ends after %zu of %zu bytes", path, at, content->size);
    sha256_add(&hash, content->bytes + at, (size_t)got);
    at += (size_t)got;
  }
  sha256_end(&hash, hex);
  if (sha256 && strcmp(hex, sha256)) return fail("wrong-hash", "%.400s has the SHA-256 %s", path, hex);
  return 1;
}

int read_content(const char *path, const char *sha256, struct content *content) {
  struct content file = {0}, whole = {0};
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail("no-file", "%.400s cannot be opened", path);
  off_t size = lseek(descriptor, 0, SEEK_END);
  int fine = size >= 0 && (uint64_t)size <= MOST_MODEL && lseek(descriptor, 0, SEEK_SET) == 0;
  if (!fine) fail("no-file", "%.400s is no file of up to 2 GB", path);
  fine = fine && map_bytes(&file, (size_t)size) && read_hashed(descriptor, path, sha256, &file);
  close(descriptor);
  if (fine && file.size >= HEAD_BYTES && !memcmp(file.bytes, "LATPSKL1", 8)) {
    fine = fill_skeleton(&file, &whole);
    free_content(&file);
    file = whole;
  }
  if (fine) *content = file;
  else free_content(&file);
  return fine;
}
