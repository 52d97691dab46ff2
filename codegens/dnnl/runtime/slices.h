/* A batch of images worked on in slices, each through the whole program, so that what lies between ops stays in the
 * processor's caches. */
#ifndef BYOC_DNNL_SLICES_H_
#define BYOC_DNNL_SLICES_H_

#include "program.h"

namespace byoc_dnnl {

/* The program for one of `count` slices, with its sizes known; and bytes from one slice of each input and output to the
 * next, 0 for inputs that all slices share. */
struct Slices {
  int64_t count = 1;
  Program program;
  std::vector<size_t> input_steps, output_steps;
};

/* One slice where images meet in an op, or where more do not pay. */
Slices SlicesOf(const Program& program, const Numbers& extents);

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_SLICES_H_
