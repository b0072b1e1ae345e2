#include "check.h"
namespace deeprnn::test { void testPlan(){} }
