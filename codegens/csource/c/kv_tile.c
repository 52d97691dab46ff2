/* Sizes that attention over caches of every format shares. */
enum {
  KV_TILE = 64,       /* tokens of a tile */
  KV_BLOCK_ROWS = 64, /* rows of a block, at most */
  KV_QUAD = 4         /* rows that are worked on together */
};
