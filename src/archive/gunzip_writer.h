// Unpacks gzip as it comes, for whoever is written to rather than reads: a body of HTTP with
// `Content-Encoding: gzip`. Streams that are read go through archive/codec.h.
#pragma once

#include <memory>

#include "base/io.h"

namespace varve::archive {

// Passes on what the members unpack to, several as one stream. Anything that is no gzip is kCorrupt.
class GunzipWriter final : public Writer {
 public:
  explicit GunzipWriter(Writer& out);
  ~GunzipWriter() override;

  Status Write(std::string_view data) override;
  // kCorrupt when the stream has not come to its end. Nothing may be written afterwards.
  Status Finish();

 private:
  struct State;
  Writer& out_;
  const std::unique_ptr<State> state_;
  bool at_end_ = false;  // of a member
};

}  // namespace varve::archive
