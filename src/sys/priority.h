// How much of the CPU a thread gets beside others.
#pragma once

namespace varve::sys {

// From here on the calling thread, and those that it starts, work with what the others leave over; for work
// that nobody waits for yet. There is no way back for who is not root, so it is for threads that end with
// that work.
void LowerThreadPriority();

}  // namespace varve::sys
