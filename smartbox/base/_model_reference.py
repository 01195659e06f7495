"""Estimators that refer to a face model and never copy it."""

from sklearn.base import clone

from smartbox._shared import changed_copy, split_shared


class ModelReferenceMixin:
    """An estimator that refers to a face model by its parameter ``model``, and never copies it."""

    _shared = ("model",)  # parameters that a clone refers to as well

    def _face_model(self):
        from smartbox.face import as_face_model

        if self.model is None:
            raise ValueError(
                f"{type(self).__name__} has no model: pass one, e.g. {type(self).__name__}(face). None is "
                "only for a meta-estimator, such as adversarial training, that supplies the model itself."
            )
        return as_face_model(self.model)

    def set_params(self, **params):
        """As scikit-learn's, but what clones share is never written to.

        Parameters
        ----------
        **params : dict
            Names and values. A nested one, such as ``model__blur__sigma``, is set on a shallow copy of the model.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a nested one is of a fitted object, such as ``model__epochs``: since nobody fits that again, nothing would follow.
        """
        plain, inside = split_shared(params, self._shared)
        super().set_params(**plain)
        for name, some in inside.items():
            setattr(self, name, changed_copy(getattr(self, name), some, owner=self, path=name))
        return self

    def __sklearn_clone__(self):
        """A clone refers to the very same model: copying or unfitting it would make it another."""
        parameters = {
            name: value if name in self._shared else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        return type(self)(**parameters)
