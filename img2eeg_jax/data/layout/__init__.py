"""The THINGS-EEG2 layout on disk: image sets and preprocessed EEG.

    DATA_DIR/image_set/image_metadata.npy
    DATA_DIR/image_set/{training,test}_images/CONCEPT/FILE
    DATA_DIR/preprocessed_data/sub-XX/preprocessed_eeg_{training,test}.npy
    DATA_DIR/preprocessed_data/sub-XX/preprocessing.json     if it was made here
    DATA_DIR/preprocessed_data/sub-XX/noise_free_{training,test}.npy    if simulated
    DATA_DIR/preprocessed_data/sub-XX/responses_{training,test}.npz     no EEG
    DATA_DIR/synthetic.json                                  if all was simulated

Every ``.npy`` is a pickled dict. Row i of a partition's EEG belongs to image i of
``image_metadata.npy``, whose lists are in sorted order. The published files are read
with an unpickler that can build NumPy arrays and plain Python values only.
"""

from img2eeg_jax.data.layout.eeg_files import (
    RECORDED_UNITS,
    PreprocessedEEG,
    check_alignment,
    check_image_list,
    eeg_unit,
    is_simulated,
    noise_free_response,
    read_eeg,
    read_record,
    write_eeg,
    write_noise_free,
)
from img2eeg_jax.data.layout.image_set import (
    ImageSet,
    describe_left_out,
    find_image_set,
    image_list,
    image_list_digest,
    list_images,
    read_image_set,
    write_image_metadata,
)
from img2eeg_jax.data.layout.images import check_images, read_image
from img2eeg_jax.data.layout.listing import (
    files_by_concept,
    find_images,
    is_concept_image,
    one_form,
)
from img2eeg_jax.data.layout.paths import (
    PARTITIONS,
    Label,
    as_label,
    eeg_path,
    folders_in,
    label_order,
    labelled_folders,
    metadata_path,
    noise_free_path,
    parse_subjects,
    record_path,
    shards_path,
    subject_folder,
    subject_name,
    subjects_in,
    synthetic_path,
)
from img2eeg_jax.data.layout.response_files import (
    read_responses,
    responses_path,
    write_responses,
)
from img2eeg_jax.data.layout.unpickle import (
    as_names,
    entry,
    read_npy_dict,
    write_npy_dict,
)

__all__ = [
    "PARTITIONS",
    "RECORDED_UNITS",
    "ImageSet",
    "Label",
    "PreprocessedEEG",
    "as_label",
    "as_names",
    "check_alignment",
    "check_image_list",
    "check_images",
    "describe_left_out",
    "eeg_path",
    "eeg_unit",
    "entry",
    "files_by_concept",
    "find_image_set",
    "find_images",
    "folders_in",
    "image_list",
    "image_list_digest",
    "is_concept_image",
    "is_simulated",
    "label_order",
    "labelled_folders",
    "list_images",
    "metadata_path",
    "noise_free_path",
    "noise_free_response",
    "one_form",
    "parse_subjects",
    "read_eeg",
    "read_image",
    "read_image_set",
    "read_npy_dict",
    "read_record",
    "read_responses",
    "record_path",
    "responses_path",
    "shards_path",
    "subject_folder",
    "subject_name",
    "subjects_in",
    "synthetic_path",
    "write_eeg",
    "write_image_metadata",
    "write_noise_free",
    "write_npy_dict",
    "write_responses",
]
