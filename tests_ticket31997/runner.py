"""Django's test runner, which says at the end why tests were skipped."""

from collections import Counter

from django.test.runner import DiscoverRunner


class Runner(DiscoverRunner):
    def suite_result(self, suite, result, **kwargs):
        reasons = Counter(reason for _, reason in result.skipped)
        for reason, number in sorted(reasons.items()):
            self.log(f"Skipped {number}: {reason}")
        return super().suite_result(suite, result, **kwargs)
