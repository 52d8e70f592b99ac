#ifndef NX_BENCH_MICRO_ENGINE_H
#define NX_BENCH_MICRO_ENGINE_H

/* Prints what the engine adds to a request; ends the process on an error. */
void micro_engine(void);

#endif
