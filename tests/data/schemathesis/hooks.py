"""What schemathesis does not know by itself."""

import schemathesis

schemathesis.serializer.alias("application/sdp", "text/plain")
