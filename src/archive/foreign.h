// Archives that somebody else made: what ADD unpacks. The compression is recognised by content,
// never by a name.
//
//   TRY_ASSIGN(bool is_archive, archive::IsTar(file));      // else ADD copies the file as it is
//   TRY_ASSIGN(auto foreign, archive::ForeignArchive::Open(again));
//   TRY_ASSIGN(auto entry, foreign->tar().Next());
#pragma once

#include <memory>

#include "archive/codec.h"
#include "archive/tar.h"

namespace varve::archive {

struct ForeignLimits {
  ExpansionLimits expansion;
  TarReader::Limits tar;
};

class ForeignArchive {
 public:
  // `in` must outlive the archive.
  static Result<std::unique_ptr<ForeignArchive>> Open(Reader& in, ForeignLimits limits = {});

  TarReader& tar() { return tar_; }

 private:
  ForeignArchive(std::unique_ptr<Reader> plain, TarReader::Limits limits)
      : plain_(std::move(plain)), tar_(*plain_, limits) {}

  std::unique_ptr<Reader> plain_;
  TarReader tar_;
};

// The field's question (moby, BuildKit): does it decompress, and is there a first header? An empty
// tar and an empty file are no archives. Errors of `in` itself are errors; everything else is an
// answer.
Result<bool> IsTar(Reader& in);

}  // namespace varve::archive
