#include "sys/pty.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <cerrno>

namespace varve::sys {

Result<Pty> OpenPty() {
  Pty pty;
  pty.master.Reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.master || grantpt(pty.master.get()) != 0 || unlockpt(pty.master.get()) != 0) {
    return ErrnoError(errno, "make a pseudo-terminal");
  }
  // Not by its name: that is another one's where /dev/pts is another instance.
  pty.slave.Reset(ioctl(pty.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios settings;
  if (!pty.slave || tcgetattr(pty.slave.get(), &settings) != 0) return ErrnoError(errno, "open a pseudo-terminal");
  cfmakeraw(&settings);
  if (tcsetattr(pty.slave.get(), TCSANOW, &settings) != 0) return ErrnoError(errno, "set up a pseudo-terminal");
  return pty;
}

Status ResizePty(int master, unsigned rows, unsigned columns) {
  winsize size{};
  size.ws_row = static_cast<unsigned short>(rows);
  size.ws_col = static_cast<unsigned short>(columns);
  return ioctl(master, TIOCSWINSZ, &size) == 0 ? Ok() : ErrnoError(errno, "resize a pseudo-terminal");
}

}  // namespace varve::sys
