/* Forced into every C++ file of a binding's build (see ../build.py).
 *
 * GCC's _tile_loadconfig and _tile_storeconfig describe their memory operand as a single pointer, 8 bytes,
 * while the instruction reads or writes a 64-byte tile configuration. The optimiser may therefore drop the
 * stores that fill the other 56 bytes just before the call, and the CPU then faults in ldtilecfg (seen with
 * GCC 12 in ggml's AMX matrix product). These versions name the whole 64 bytes.
 *
 * Layout of the configuration: Intel 64 and IA-32 SDM, volume 1, section 18.3.2 (TILECFG is 64 bytes).
 */
#ifndef BATCHYARD_AMX_H
#define BATCHYARD_AMX_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__AMX_TILE__)

#include <immintrin.h>

struct batchyard_tile_config {
    unsigned char bytes[64];
} __attribute__((__may_alias__));

static inline __attribute__((__always_inline__)) void batchyard_tile_loadconfig(const void * config) {
    __asm__ volatile("ldtilecfg\t%X0" : : "m"(*(const struct batchyard_tile_config *) config));
}

static inline __attribute__((__always_inline__)) void batchyard_tile_storeconfig(void * config) {
    __asm__ volatile("sttilecfg\t%X0" : "=m"(*(struct batchyard_tile_config *) config));
}

#define _tile_loadconfig batchyard_tile_loadconfig
#define _tile_storeconfig batchyard_tile_storeconfig

#endif

#endif
