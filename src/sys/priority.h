// How much of the CPU a thread gets beside others.
#pragma once

namespace varve::sys {

// From here on the calling thread, and those that it starts, work with what the others leave over; for work
// that nobody waits for yet.
void LowerThreadPriority();

// Somebody waits for it now: all threads of this process that were lowered, and what they started, work as
// others do. Only where that is allowed: to root, not to root of a user namespace. Threads that they start
// meanwhile may stay as they were.
void RaiseLoweredThreads();

}  // namespace varve::sys
