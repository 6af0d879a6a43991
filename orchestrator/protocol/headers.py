"""The wire's header names and fixed values, in lower case: drivers and the API fold names before they look them up."""

from __future__ import annotations

from collections.abc import Mapping

AUTHORIZATION = "authorization"
CONTENT_TYPE = "content-type"
RETRY_AFTER = "retry-after"
REQUEST_ID = "x-request-id"
RUN_ID = "x-run-id"

#: On every answer of an SDK: `inngest-<language>:v<version>`.
SDK = "x-inngest-sdk"
#: On an SDK's refusals, too, from which `SDK` is missing.
SDK_HANDLED = "x-inngest-sdk-handled"
FRAMEWORK = "x-inngest-framework"
PLATFORM = "x-inngest-platform"
ENV = "x-inngest-env"
SIGNATURE = "x-inngest-signature"
NO_RETRY = "x-inngest-no-retry"
REQUEST_VERSION = "x-inngest-req-version"
STEP_ID = "x-inngest-step-id"
#: Whether an endpoint that is called again must only plan the steps that it comes to.
FORCE_PLAN = "x-inngest-force-step-plan"
JOB_ID = "x-inngest-job-id"
GENERATION_ID = "x-inngest-generation-id"
SERVER_KIND = "x-inngest-server-kind"
EXPECTED_SERVER_KIND = "x-inngest-expected-server-kind"
SYNC_KIND = "x-inngest-sync-kind"
EVENT_ID_SEED = "x-inngest-event-id-seed"

JSON = "application/json"
KIND_DEV = "dev"
KIND_CLOUD = "cloud"
SYNC_IN_BAND = "in_band"
SYNC_OUT_OF_BAND = "out_of_band"


def is_sdk_answer(headers: Mapping[str, str]) -> bool:
    """Tell whether an answer (lower-case header names) comes from an SDK, and not from something in front of it."""
    return bool(headers.get(SDK))


def handled_by_sdk(headers: Mapping[str, str]) -> bool:
    """Tell whether an SDK saw the request, even if it refused it and so said nothing about itself."""
    return is_sdk_answer(headers) or headers.get(SDK_HANDLED, "").strip().lower() == "true"
