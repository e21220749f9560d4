#include "session/rpc.h"

#include <gtest/gtest.h>

namespace varve::session {
namespace {

TEST(Rpc, EscapesAsGoDoes) { EXPECT_EQ(QueryEscape("a b/ü~.txt+%"), "a+b%2F%C3%BC~.txt%2B%25"); }

TEST(Rpc, ErrorsFollowTheCode) {
  const grpc::Status absent(grpc::StatusCode::NOT_FOUND, "no such secret");
  EXPECT_EQ(StatusError(absent, "secret x").code, Code::kNotFound);
  EXPECT_EQ(StatusError(absent, "secret x").message, "secret x: no such secret");
  EXPECT_EQ(StatusError({grpc::StatusCode::UNAVAILABLE, "gone"}, "x").code, Code::kUnavailable);
  EXPECT_EQ(StatusError({grpc::StatusCode::UNKNOWN, "bad"}, "x").code, Code::kInvalid);
}

TEST(Rpc, AStopThatCameFirstExplainsTheError) {
  std::stop_source stop;
  stop.request_stop();
  const Call call(stop.get_token());
  EXPECT_EQ(call.ToError({grpc::StatusCode::UNAVAILABLE, "gone"}, "x").code, Code::kCancelled);
}

}  // namespace
}  // namespace varve::session
