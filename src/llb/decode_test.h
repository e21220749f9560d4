// For tests of decoding: definitions put together Op by Op.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "llb/definition.h"

namespace varve::llb {

inline constexpr char kDigest[] = "sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d";

class Llb : public ::testing::Test {
 protected:
  // Adds an Op; its digest.
  std::string Add(const pb::Op& op) {
    std::string text = Serialise(op);
    definition.add_def(text);
    return Digest::Of(text).ToString();
  }
  static void Use(pb::Op& op, const std::string& digest, int64_t index = 0) {
    op.add_inputs()->set_digest(digest);
    op.mutable_inputs(op.inputs_size() - 1)->set_index(index);
  }
  std::string AddSource(const std::string& identifier, const std::map<std::string, std::string>& attrs = {}) {
    pb::Op op;
    op.mutable_source()->set_identifier(identifier);
    op.mutable_source()->mutable_attrs()->insert(attrs.begin(), attrs.end());
    return Add(op);
  }
  Result<Decoded> Result_(const std::string& digest, int64_t index = 0) {
    pb::Op last;
    Use(last, digest, index);
    Add(last);
    return Decode(definition, {.platform = {"linux", "amd64"}});
  }
  std::string ErrorOf(const std::string& digest, int64_t index = 0) {
    auto decoded = Result_(digest, index);
    return decoded ? "no error" : decoded.error().message;
  }
  template <class Op>
  Op SourceOf(const std::string& identifier, const std::map<std::string, std::string>& attrs = {}) {
    auto decoded = Result_(AddSource(identifier, attrs));
    EXPECT_TRUE(decoded.has_value()) << decoded.error().ToString();
    return std::get<Op>(decoded->graph.steps[0].op);
  }
  std::string SourceError(const std::string& identifier, const std::map<std::string, std::string>& attrs = {}) {
    return ErrorOf(AddSource(identifier, attrs));
  }
  // A step on an image, after `change`.
  pb::Op Exec(const std::function<void(pb::ExecOp&)>& change = {}) {
    pb::Op op;
    Use(op, AddSource("docker-image://docker.io/library/alpine:3"));
    pb::ExecOp* exec = op.mutable_exec();
    exec->mutable_meta()->add_args("make");
    exec->mutable_meta()->add_args("all");
    exec->mutable_meta()->set_cwd("/app");
    exec->add_mounts()->set_dest("/");
    if (change) change(*exec);
    return op;
  }

  pb::Definition definition;
};

}  // namespace varve::llb
