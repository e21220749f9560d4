// A pseudo-terminal (pty(7)).
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace varve::sys {

struct Pty {
  Fd master, slave;
};

// With a slave that passes everything on as it is: the terminal that a user sees is made by what runs on it.
Result<Pty> OpenPty();

// Of the window; what runs on it is told by SIGWINCH only where it is its controlling terminal.
Status ResizePty(int master, unsigned rows, unsigned columns);

}  // namespace varve::sys
