#include "daemon/failure.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/json.h"

namespace varve::daemon {
namespace {

TEST(Failure, NamesThePlaceAsClientsReadIt) {
  Failure failure{.error = Invalid("unknown instruction: RNU"),
                  .place = FailurePlace{"Dockerfile", "FROM a\nRNU b\n", dockerfile::Span::Lines(2, 2)}};
  auto status = ToProto(failure);
  EXPECT_EQ(status.message(), "unknown instruction: RNU");
  ASSERT_EQ(status.details_size(), 1);
  EXPECT_EQ(status.details(0).type_url(), "github.com/moby/buildkit/errdefs.Source+json");
  EXPECT_EQ(status.details(0).value(),
            R"({"info":{"filename":"Dockerfile","data":")" + Base64Encode("FROM a\nRNU b\n") +
                R"(","language":"Dockerfile"},"ranges":[{"start":{"line":2},"end":{"line":2}}]})");
}

TEST(Failure, NamesTheVertexThatFailed) {
  auto status = ToProto({.error = MakeError(Code::kExec, "exit code: 1"), .vertex = "sha256:ab"});
  EXPECT_EQ(status.code(), grpc::StatusCode::UNKNOWN);
  ASSERT_EQ(status.details_size(), 1);
  EXPECT_EQ(status.details(0).type_url(), "github.com/moby/buildkit/errdefs.Vertex+json");
  EXPECT_EQ(status.details(0).value(), R"({"digest":"sha256:ab"})");
}

TEST(Failure, AQuestionThatIsNotAnsweredIsUnimplemented) {
  auto status = ToProto({.error = Invalid("unsupported request frontend.x"), .subrequest = "frontend.x"});
  EXPECT_EQ(status.code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(status.details(0).type_url(), "github.com/moby/buildkit/errdefs.Subrequest+json");
}

TEST(Failure, EveryLineOfThePlaceIsARange) {
  Failure failure{.error = Invalid("no"),
                  .place = FailurePlace{"Dockerfile", "FROM a\nRUN b\\\nc\n", dockerfile::Span::Lines(2, 3)}};
  pb::Definition origin;
  origin.add_def("op");
  failure.place->origin = origin;
  const std::string detail = ToProto(failure).details(0).value();
  EXPECT_NE(detail.find(R"("ranges":[{"start":{"line":2},"end":{"line":2}},{"start":{"line":3},"end":{"line":3}}])"),
            std::string::npos)
      << detail;
  EXPECT_NE(detail.find(R"("definition":{"def":["b3A="]})"), std::string::npos) << detail;
}

TEST(Failure, SeveralPlacesAreToldAsTheClientSaidThem) {
  FailurePlace first{.file = "a", .text = "x", .language = ""}, second{.file = "b", .text = "y", .language = "mylang"};
  first.ranges.emplace_back().mutable_start()->set_line(9);
  pb::Range& range = second.ranges.emplace_back();
  range.mutable_start()->set_line(3);
  range.mutable_start()->set_character(1);
  range.mutable_end()->set_line(4);
  const auto status =
      ToProto({.error = Invalid("no"), .more_places = {first, second, FailurePlace{.file = "nowhere"}}});
  ASSERT_EQ(status.details_size(), 2);
  EXPECT_EQ(status.details(0).value(), R"({"info":{"filename":"a","data":"eA=="},"ranges":[{"start":{"line":9}}]})");
  EXPECT_EQ(status.details(1).value(), R"({"info":{"filename":"b","data":"eQ==","language":"mylang"},)"
                                       R"("ranges":[{"start":{"line":3,"character":1},"end":{"line":4}}]})");
}

// A step that copies from `from` on `base`: steps of the graph, or -1.
graph::Step CopyStep(int base, int from) {
  graph::Step step;
  graph::Copy copy;
  if (base >= 0) step.inputs.push_back({static_cast<graph::StepIndex>(base), 0});
  if (from >= 0) {
    copy.input = static_cast<int>(step.inputs.size());
    step.inputs.push_back({static_cast<graph::StepIndex>(from), 0});
  }
  step.op = graph::FileOp{.base = base >= 0 ? 0 : -1, .actions = {copy}};
  return step;
}

TEST(Failure, AMissingFileIsToldAsClientsKnowIt) {
  Failure failure{.error = NotFound("\"/a\": not found"), .vertex = "sha256:0123456789abcdef0123456789abcdef"};
  NameMissingFile(CopyStep(0, 1), failure);
  auto status = ToProto(failure);
  EXPECT_EQ(status.code(), grpc::StatusCode::UNKNOWN);
  EXPECT_EQ(status.message(),
            "failed to compute cache key: failed to calculate checksum of ref 0123456789abcdef012345678: "
            "\"/a\": not found");
  Failure other{.error = NotFound("no such thing")};
  NameMissingFile(CopyStep(0, 1), other);
  EXPECT_EQ(other.error.message, "no such thing");
}

TEST(Failure, AFileThatIsMissingWhereNothingIsHashedIsNotThere) {
  for (const graph::Step& step : {CopyStep(3, 3), CopyStep(-1, -1)}) {
    Failure failure{.error = NotFound("\"/a\": not found"), .vertex = "sha256:0123456789abcdef0123456789abcdef"};
    NameMissingFile(step, failure);
    EXPECT_EQ(ToProto(failure).message(), "lstat /a: no such file or directory");
  }
}

TEST(Failure, ACapabilityThatIsNotThereIsNamed) {
  auto status = ToProto({.error = Invalid("unsupported frontend capability x"), .capability = "x"});
  EXPECT_EQ(status.code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(status.details(0).type_url(), "github.com/moby/buildkit/errdefs.FrontendCap+json");
  EXPECT_EQ(status.details(0).value(), R"({"name":"x"})");
}

TEST(Failure, AHostThatNobodyKnowsIsToldInGosWords) {
  EXPECT_EQ(ToProto({.error = Unavailable("https://a.invalid:5000/v2/: Could not resolve host: a.invalid")}).message(),
            "https://a.invalid:5000/v2/: dial tcp: lookup a.invalid: no such host");
  EXPECT_EQ(ToProto({.error = Unavailable("Could not resolve host: a.invalid (try again)")}).message(),
            "dial tcp: lookup a.invalid: no such host (try again)");
}

TEST(Failure, AServiceThatDoesNotAnswerIsNoReasonToCallAgain) {
  EXPECT_EQ(ToProto({.error = Unavailable("registry")}).code(), grpc::StatusCode::UNKNOWN);
}

TEST(Failure, AHintIsALineOfTheMessage) {
  Error error = Invalid("no name");
  error.hint = "pass -t NAME";
  EXPECT_EQ(ToProto({.error = error}).message(), "no name\nhint: pass -t NAME");
}

TEST(Failure, DetailsTravelInTheStatus) {
  auto sent = ToGrpc(ToProto({.error = Cancelled("context canceled"), .vertex = "sha256:ab"}));
  EXPECT_EQ(sent.error_code(), grpc::StatusCode::CANCELLED);
  google::rpc::Status received;
  ASSERT_TRUE(received.ParseFromString(sent.error_details()));
  EXPECT_EQ(received.details_size(), 1);
  EXPECT_TRUE(ToGrpc(google::rpc::Status()).ok());
}

}  // namespace
}  // namespace varve::daemon
