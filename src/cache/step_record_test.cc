#include "cache/step_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/fd.h"
#include "base/json.h"

namespace varve::cache {
namespace {

StepRecord Example() {
  StepRecord record;
  record.preimage = R"({"op":{}})";
  record.key = StepKey(Digest::Of(record.preimage));
  record.outputs = {{{DiffId(Digest::Of("layer"))}, Digest::Of("tree")},
                    {{DiffId(Digest::Of("layer")), DiffId(Digest::Of("other"))}, Digest()}};
  record.inputs = {{"context", Digest::Of("root"), Digest::Of("selection")}};
  record.images = {{"docker.io/library/node:20@sha256:00", ChainId(Digest::Of("chain"))}};
  record.slot = "p|Dockerfile|build|3";
  record.op_digest = Digest::Of("op");
  record.name = "[build 3/3] RUN make";
  record.created = Timestamp{1'700'000'000'000'000'000};
  record.wall = Nanos(1'500'000'000);
  record.new_bytes = 42;
  record.log = "cc \"a\"\n";
  return record;
}

void ExpectEqual(const StepRecord& a, const StepRecord& b) {
  EXPECT_EQ(a.key, b.key);
  EXPECT_EQ(a.outputs, b.outputs);
  EXPECT_EQ(a.preimage, b.preimage);
  ASSERT_EQ(a.inputs.size(), b.inputs.size());
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    EXPECT_EQ(a.inputs[i].name, b.inputs[i].name);
    EXPECT_EQ(a.inputs[i].tree_root, b.inputs[i].tree_root);
    EXPECT_EQ(a.inputs[i].selection, b.inputs[i].selection);
  }
  ASSERT_EQ(a.images.size(), b.images.size());
  for (size_t i = 0; i < a.images.size(); ++i) {
    EXPECT_EQ(a.images[i].reference, b.images[i].reference);
    EXPECT_EQ(a.images[i].chain, b.images[i].chain);
  }
  EXPECT_EQ(a.slot, b.slot);
  EXPECT_EQ(a.op_digest, b.op_digest);
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.created, b.created);
  EXPECT_EQ(a.wall, b.wall);
  EXPECT_EQ(a.new_bytes, b.new_bytes);
  EXPECT_EQ(a.log, b.log);
  EXPECT_EQ(a.unknown, b.unknown);
}

// `object` with the checksum that it should end with.
std::string Sealed(std::string object) {
  object.pop_back();
  return object + ",\"checksum\":\"" + Digest::Of(object).ToString() + "\"}";
}

std::string WithoutChecksum(const std::string& text) { return text.substr(0, text.rfind(",\"checksum\"")) + "}"; }

TEST(StepRecord, RoundTripsWholeAndInParts) {
  StepRecord record = Example();
  ExpectEqual(*DecodeRecord(EncodeRecord(record)), record);
  RecordParts parts = SplitRecord(record);
  EXPECT_EQ(parts.body.find("cc "), std::string::npos);
  ExpectEqual(*JoinRecord(parts.body, parts.preimage, parts.log), record);
}

TEST(StepRecord, ATraceIsKeptByteForByte) {
  StepRecord record = Example();
  record.trace = StepTrace{.weak_key = Digest::Of("weak"), .reads = {std::string("vrs1\n\0\xff", 7), ""}};
  for (const std::vector<std::string>& times : {std::vector<std::string>(), {std::string(8, '\0'), ""}}) {
    record.trace->times = times;
    RecordParts parts = SplitRecord(record);
    for (const auto& read : {DecodeRecord(EncodeRecord(record)), JoinRecord(parts.body, parts.preimage, parts.log)}) {
      ASSERT_TRUE(read && read->trace);
      EXPECT_EQ(read->trace->weak_key, record.trace->weak_key);
      EXPECT_EQ(read->trace->reads, record.trace->reads);
      EXPECT_EQ(read->trace->times, times);
    }
  }
}

TEST(StepRecord, TimesOfDirectoriesAreKept) {
  StepRecord record = Example();
  record.directories = {{RelPath(), Timestamp{0}},
                        {RelPath("app"), Timestamp{1'700'000'000'123'456'789}},
                        {RelPath("caf\xe9/\"x"), Timestamp{-1}}};
  RecordParts parts = SplitRecord(record);
  for (const auto& read : {DecodeRecord(EncodeRecord(record)), JoinRecord(parts.body, parts.preimage, parts.log)}) {
    ASSERT_TRUE(read) << read.error().message;
    ExpectEqual(*read, record);
    EXPECT_EQ(read->directories, record.directories);
  }
  EXPECT_THAT(EncodeRecord(record), ::testing::HasSubstr(R"("directories":{"":0,"app":1700000000123456789,)"));
  EXPECT_EQ(EncodeRecord(Example()).find("directories"), std::string::npos);
  EXPECT_NE(parts.body[0], SplitRecord(Example()).body[0]) << "a body without any is as it was";
  for (const char* wrong : {"[]", R"({"app":"1"})"}) {
    std::string object = WithoutChecksum(EncodeRecord(Example()));
    object.insert(1, std::string("\"directories\":") + wrong + ",");
    EXPECT_FALSE(DecodeRecord(Sealed(object))) << wrong;
  }
  for (size_t size = 1; size < parts.body.size(); ++size) {
    EXPECT_FALSE(JoinRecord(parts.body.substr(0, size), parts.preimage, parts.log)) << size;
  }
}

TEST(StepRecord, LogAndNamesMayHoldAnyBytes) {
  StepRecord record = Example();
  record.log = std::string("\xff\0\x80\n", 4);
  record.name = "[1/1] COPY caf\xe9 /";
  ExpectEqual(*DecodeRecord(EncodeRecord(record)), record);
  RecordParts parts = SplitRecord(record);
  EXPECT_EQ(JoinRecord(parts.body, parts.preimage, parts.log)->log, record.log);
}

TEST(StepRecord, TextIsPinned) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/cache/record.json";
  std::string text = EncodeRecord(Example()) + "\n";
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  EXPECT_EQ(ReadFile(path).value_or("no golden file"), text);
}

TEST(StepRecord, UnknownMembersSurvive) {
  std::string object = WithoutChecksum(EncodeRecord(Example()));
  object.insert(1, "\"future\":{\"x\":[1,2.5]},");
  auto record = DecodeRecord(Sealed(object));
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->unknown, R"({"future":{"x":[1,2.5]}})");
  ExpectEqual(*DecodeRecord(EncodeRecord(*record)), *record);
  RecordParts parts = SplitRecord(*record);
  ExpectEqual(*JoinRecord(parts.body, parts.preimage, parts.log), *record);
}

// Rows of an index that outlived an update of varve.
TEST(StepRecord, ABodyOfAnEarlierVersionIsRead) {
  StepRecord record = Example();
  Json json = *Json::Parse(WithoutChecksum(EncodeRecord(record)));
  json.Erase("preimage");
  json.Erase("log");
  std::string body = Sealed(json.Set("log_digest", Digest::Of(record.log).ToString()).Dump());
  ExpectEqual(*JoinRecord(body, record.preimage, record.log), record);
  EXPECT_EQ(JoinRecord(body, record.preimage, "other").error().code, Code::kCorrupt);
}

TEST(StepRecord, ABodyThatLacksAnythingIsCorrupt) {
  RecordParts parts = SplitRecord(Example());
  for (size_t n = 0; n < parts.body.size(); ++n) {
    std::string part = parts.body.substr(0, n);
    ASSERT_FALSE(JoinRecord(part, parts.preimage, parts.log)) << n;
    if (n + Digest::kSize == parts.body.size()) continue;  // the whole of it
    part.append(Digest::Of(part).raw());                   // its checksum is right
    ASSERT_FALSE(JoinRecord(part, parts.preimage, parts.log)) << n;
  }
}

TEST(StepRecord, WhatDoesNotHashToItsKeyIsRefused) {
  StepRecord record = Example();
  record.key = StepKey(Digest::Of("another"));
  EXPECT_EQ(DecodeRecord(EncodeRecord(record)).error().code, Code::kCorrupt);
  RecordParts parts = SplitRecord(record);
  EXPECT_EQ(JoinRecord(parts.body, parts.preimage, parts.log).error().code, Code::kCorrupt);
}

TEST(StepRecord, TruncatedTextIsCorrupt) {
  std::string text = EncodeRecord(Example());
  for (size_t n = 0; n < text.size(); ++n) {
    ASSERT_EQ(DecodeRecord(text.substr(0, n)).error().code, Code::kCorrupt) << n;
  }
}

TEST(StepRecord, EveryFlippedBitIsCorrupt) {
  std::string text = EncodeRecord(Example());
  RecordParts parts = SplitRecord(Example());
  for (std::string* part : {&text, &parts.body, &parts.preimage, &parts.log}) {
    for (size_t bit = 0; bit < part->size() * 8; ++bit) {
      (*part)[bit / 8] = static_cast<char>((*part)[bit / 8] ^ (1 << bit % 8));
      auto record = part == &text ? DecodeRecord(text) : JoinRecord(parts.body, parts.preimage, parts.log);
      ASSERT_FALSE(record) << bit;
      ASSERT_EQ(record.error().code, Code::kCorrupt);
      (*part)[bit / 8] = static_cast<char>((*part)[bit / 8] ^ (1 << bit % 8));
    }
  }
}

TEST(StepRecord, LaterVersionIsRefused) {
  EXPECT_EQ(DecodeRecord(Sealed(R"({"version":2})")).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace varve::cache
